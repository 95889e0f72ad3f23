// The sidebar as a person sees it first: lists, then pictures in both themes.
export default async ({ open, sidebar, picture, step }) => {
  await open();
  const panel = await sidebar();
  await panel.locator('.jp-nbc-Row, .jp-nbc-Empty, .jp-nbc-Notice').first().waitFor();
  await panel.page().waitForTimeout(500);
  await picture('sidebar');
  await step('rows', await panel.locator('.jp-nbc-Row').evaluateAll(rows => rows.map(row => row.innerText)));
};
