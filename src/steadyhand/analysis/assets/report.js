"use strict";
// Without this script every video still plays by its own controls.
for (const button of document.querySelectorAll("button.play")) {
  const videos = [...button.closest("div").parentElement.querySelectorAll("video")];
  const start = () => {
    for (const video of videos) {
      video.loop = false; // The shorter ones hold their last picture until the longest ends.
      video.currentTime = 0;
      video.play();
    }
    button.textContent = "Play again";
  };
  button.addEventListener("click", start);
  button.hidden = videos.length < 2;
}
