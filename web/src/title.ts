// The title of the browser's tab: the page, after the number of approvals that a user is asked for.

let page = "PipeCD";
let count = 0;

function show(): void {
  document.title = count > 0 ? `(${count}) ${page}` : page;
}

export function setTitle(title: string): void {
  page = `${title} · PipeCD`;
  show();
}

export function setTitleCount(approvals: number): void {
  count = approvals;
  show();
}
