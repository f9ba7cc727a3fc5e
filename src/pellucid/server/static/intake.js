// Takes files from drops, pastes and the file picker. Text and links that are dropped are ignored: no address is fetched.

const isFileDrag = (event) => event.dataTransfer?.types.includes('Files');

/**
 * Listen on the whole page.
 * @param {HTMLInputElement} picker @param {HTMLElement} veil shown while something hovers
 * @param {(files: File[]) => void} take
 */
export function attachIntake(picker, veil, take) {
  let depth = 0;
  const hover = (change) => {
    depth = Math.max(0, depth + change);
    veil.hidden = depth === 0;
  };
  addEventListener('dragenter', (event) => isFileDrag(event) && hover(1));
  addEventListener('dragleave', (event) => isFileDrag(event) && hover(-1));
  // Without this the browser leaves the page and opens what was dropped.
  addEventListener('dragover', (event) => event.preventDefault());
  addEventListener('drop', (event) => {
    event.preventDefault();
    depth = 0;
    hover(0);
    give(event.dataTransfer.files);
  });
  addEventListener('paste', (event) => give(event.clipboardData?.files));
  picker.addEventListener('change', () => {
    give(picker.files);
    picker.value = ''; // or choosing the same file again would change nothing
  });

  function give(files) {
    if (files?.length) take([...files]);
  }
}
