"""What `import steadyhand as sh` offers, one line a name; `__init__.py` reads this file, too."""

from steadyhand import envs as envs
from steadyhand import experts as experts
from steadyhand import recipes as recipes
from steadyhand.core.protocol import Controller as Controller
from steadyhand.core.protocol import Wrapper as Wrapper
from steadyhand.correction import gates as gates
from steadyhand.data.base import Dataset as Dataset
from steadyhand.data.episode import Episode as Episode
from steadyhand.face.data import load_dataset as load_dataset
from steadyhand.face.data import record as record
from steadyhand.face.envs import Env as Env
from steadyhand.face.envs import make as make
from steadyhand.face.evaluation import compare as compare
from steadyhand.face.evaluation import evaluate as evaluate
from steadyhand.face.experts import expert as expert
from steadyhand.face.experts import train_expert as train_expert
from steadyhand.face.film import show as show
from steadyhand.face.policy import Policy as Policy
from steadyhand.face.policy import load as load
from steadyhand.face.training import correct as correct
from steadyhand.face.training import train as train
from steadyhand.policies import encoders as encoders
from steadyhand.policies import heads as heads
from steadyhand.policies.contract import Encoder as Encoder
from steadyhand.policies.contract import Head as Head
from steadyhand.recipes import remedies as remedies
from steadyhand.rollout import executors as executors

__version__: str
