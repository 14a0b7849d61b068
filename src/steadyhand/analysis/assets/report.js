"use strict";
// Without this script every film plays by its own controls, and every map is shown.
for (const films of document.querySelectorAll(".films")) {
  const videos = [...films.querySelectorAll("video")];
  const player = films.querySelector(".player");
  const [button, slider, time] = player.children;
  let playing = false;
  const show = () => {
    const seconds = Number(slider.value).toFixed(1);
    time.textContent = `${seconds} of ${Number(slider.max).toFixed(1)} s`;
    slider.setAttribute("aria-valuetext", `${seconds} s`);
    button.textContent = playing ? "Pause" : "Play";
  };
  // A film that is shorter than the others holds its last picture.
  const seek = (at) => videos.forEach((video) => { video.currentTime = Math.min(at, video.duration || 0); });
  const tick = () => {
    if (!playing) return;
    const at = Math.max(...videos.map((video) => video.currentTime));
    slider.value = at;
    playing = videos.some((video) => !video.ended);
    for (const video of videos) {
      if (!video.ended && at - video.currentTime > 0.2) video.currentTime = Math.min(at, video.duration);
    }
    show();
    requestAnimationFrame(tick);
  };
  const toggle = () => {
    playing = !playing;
    if (playing) {
      const ended = Number(slider.value) >= Number(slider.max) - 0.05;
      seek(ended ? 0 : Number(slider.value));
      for (const video of videos) if (ended || video.currentTime < video.duration) video.play();
      requestAnimationFrame(tick);
    } else {
      videos.forEach((video) => video.pause());
    }
    show();
  };
  button.addEventListener("click", toggle);
  slider.addEventListener("input", () => {
    if (playing) toggle();
    seek(Number(slider.value));
    show();
  });
  for (const video of videos) {
    video.controls = video.loop = false;
    video.addEventListener("click", toggle);
    const measure = () => {
      slider.max = Math.ceil(10 * Math.max(...videos.map((one) => one.duration || 0))) / 10;
      slider.value = slider.max; // The posters show how the films end.
      show();
    };
    if (video.readyState > 0) measure();
    else video.addEventListener("loadedmetadata", measure, { once: true });
  }
  player.hidden = false;
}
for (const chosen of document.querySelectorAll(".chosen")) {
  const [slider, ...maps] = chosen.children;
  const show = () => {
    maps.forEach((map, index) => { map.hidden = index !== Number(slider.value); });
    slider.setAttribute("aria-valuetext", maps[slider.value].querySelector("strong").textContent);
  };
  slider.addEventListener("input", show);
  slider.hidden = false;
  chosen.classList.add("one");
  show();
}
