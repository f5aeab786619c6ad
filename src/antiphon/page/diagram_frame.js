// Draws diagrams inside a sandboxed frame (diagram.html): what a model wrote never reaches the page, only the picture
// does, as an image. A classic script, because a sandboxed frame has no origin that could load modules.

(() => {
  const { mermaid } = __esbuild_esm_mermaid_nm;
  const draw = (mermaid.default ?? mermaid).render;
  const configure = (mermaid.default ?? mermaid).initialize;
  let number = 0;

  addEventListener('message', async ({ source, data }) => {
    if (source !== parent || typeof data?.text !== 'string') return;
    const answer = { id: data.id };
    try {
      configure({
        startOnLoad: false,
        securityLevel: 'strict',
        htmlLabels: false,
        flowchart: { htmlLabels: false },
        theme: data.isDark ? 'dark' : 'neutral',
        maxTextSize: 50_000,
        maxEdges: 500,
        suppressErrorRendering: true,
      });
      const { svg } = await draw(`diagram-${(number += 1)}`, data.text);
      answer.svg = svg;
    } catch (error) {
      answer.problem = String(error?.message ?? error).slice(0, 300);
    }
    parent.postMessage(answer, '*'); // the frame does not know the origin of the page; the page checks who sent it
  });
  parent.postMessage({ isReady: true }, '*');
})();
