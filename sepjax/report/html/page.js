// One player at a time; within an excerpt the next one takes over the moment, so that
// reference and estimate can be compared; the picture shows and sets the place.
const players = [...document.querySelectorAll("audio")];
for (const player of players) {
  const excerpt = player.closest("article");
  const picture = player.parentElement.querySelector(".picture");
  player.addEventListener("play", () => {
    for (const other of players) {
      if (other === player || other.paused) continue;
      other.pause();
      if (excerpt.contains(other)) player.currentTime = other.currentTime;
    }
  });
  player.addEventListener("timeupdate", () => {
    picture.style.setProperty("--at", player.currentTime / player.duration);
    picture.classList.toggle("started", player.currentTime > 0);
  });
  picture.addEventListener("click", (event) => {
    const frame = picture.getBoundingClientRect();
    for (const other of players) if (other !== player) other.pause();
    player.currentTime = ((event.clientX - frame.left) / frame.width) * player.duration;
    player.play();
  });
}
