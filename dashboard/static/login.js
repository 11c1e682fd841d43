import { $, post } from "/shared.js";

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { status, said } = await post("/login", { token: $("token").value });
  if (status === 204) location.replace("/");
  else $("said").textContent = said.says || "That did not work.";
});
