"""Parts of somebody who is not steadyhand."""
