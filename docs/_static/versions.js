// Other versions of this site, where it was published with others beside it.
const root = new URL(document.documentElement.dataset.content_root, location.href);
const own = DOCUMENTATION_OPTIONS.VERSION;

async function go(name) {
  const folder = new URL(`../${name}/`, root);
  const page = new URL(location.pathname.slice(root.pathname.length), folder);
  const reply = await fetch(page, { method: "HEAD" });
  location.href = reply.ok ? page : folder;
}

async function offer() {
  const reply = await fetch(new URL("../versions.json", root));
  const names = reply.ok ? await reply.json() : [];
  if (!names.includes(own)) return;
  const choice = Object.assign(document.createElement("select"), { id: "versions", ariaLabel: "Version" });
  for (const name of names) choice.add(new Option(`sepjax ${name}`, name, name === own, name === own));
  choice.onchange = () => go(choice.value);
  document.querySelector(".sidebar-brand").after(choice);
  if (names[0] === own) return;
  const notice = Object.assign(document.createElement("p"), { id: "older", className: "admonition" });
  const link = Object.assign(document.createElement("a"), { href: "#", textContent: `sepjax ${names[0]}` });
  link.onclick = () => (go(names[0]), false);
  notice.append(`This page is of sepjax ${own}. The newest is `, link, ".");
  document.querySelector("article").prepend(notice);
}

if (location.protocol !== "file:") offer();
