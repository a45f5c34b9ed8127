// Sends the code that stands after the "#" of the mailed link, and what the form asks for.
const form = document.querySelector("form");
const told = document.querySelector("[role=status]");
const button = form.querySelector("button");
const token = location.hash.slice(1);

function tell(text, kind) {
  told.textContent = text;
  told.className = kind;
}

async function ask() {
  const wish = { token, ...Object.fromEntries(new FormData(form)) };
  const answer = await fetch(form.dataset.call, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(wish),
  });
  if (!answer.ok) {
    const problem = await answer.json();
    const [field] = problem.errors;
    tell(field ? field.message : problem.detail, "refused");
    return;
  }
  // The code is used: it need not stay in the address bar.
  history.replaceState(null, "", location.pathname);
  form.hidden = true;
  tell(form.dataset.done, "done");
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  try {
    await ask();
  } catch {
    tell("We cannot be reached just now. Try again in a moment.", "refused");
  }
  button.disabled = false;
});

if (!token) {
  form.hidden = true;
  tell("Open the whole link from your mail: its last part is missing here.", "refused");
}
