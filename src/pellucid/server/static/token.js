// Dialog for the server's token. The caller keeps the token, in memory only.

/** Make a function that asks for a token; all who ask while the dialog is open get the same answer. */
export function makeTokenDialog() {
  const dialog = document.getElementById('token-dialog');
  const input = document.getElementById('token');
  const wrong = document.getElementById('token-wrong');
  document.getElementById('token-cancel').addEventListener('click', () => dialog.close(''));
  document.getElementById('token-form').addEventListener('submit', (event) => {
    event.preventDefault();
    dialog.close(input.value.trim());
  });
  let answer = null;

  return (wasRefused) => {
    answer ??= new Promise((resolve) => {
      wrong.hidden = !wasRefused;
      input.value = '';
      dialog.returnValue = '';
      dialog.addEventListener('close', () => {
        answer = null;
        resolve(dialog.returnValue || null);
      }, { once: true });
      dialog.showModal();
    });
    return answer;
  };
}
