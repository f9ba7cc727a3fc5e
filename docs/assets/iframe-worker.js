// The search runs in a worker, which browsers refuse to pages that are opened as files: there, run it in a hidden frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.receive = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      document.body.append(frame);
      const page = frame.contentDocument;
      page.open();
      page.write("<script>window.postMessage = (data) => frameElement.receive(data)</" + "script>");
      page.write(`<script src="${url}"></` + "script>");
      page.close();
      this.scope = frame.contentWindow;
      this.ready = new Promise((resolve) => frame.addEventListener("load", resolve, { once: true }));
    }

    postMessage(data) {
      this.ready.then(() => this.scope.dispatchEvent(new this.scope.MessageEvent("message", { data })));
    }

    terminate() {}
  };
}
