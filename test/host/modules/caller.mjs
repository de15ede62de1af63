// Calls the host one call after the other, and tells when each began and how long it took, milliseconds.
export default ({ call, say }) => {
  const loop = async () => {
    for (;;) {
      const began = performance.now();
      const status = await call('/modhost.v1.SessionService/GetContext', Buffer.alloc(0));
      say(
        `${status === '0' ? 'took' : `refused ${status}`} ${performance.timeOrigin + began} ${performance.now() - began}`,
      );
      await new Promise((resolve) => setTimeout(resolve, 4));
    }
  };
  void loop();
};
