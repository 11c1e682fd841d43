// A sound and a notification of a BUY, a SELL and of BLIND, for whoever asked for them. The phone hears of all three whether or not.

const KEPT = "signals";
const SOUNDS = { BUY: [660, 880], SELL: [880, 660, 440], BLIND: [300, 300, 300, 300] }; // Hz, one after the other
const NOTE_S = 0.18;

export class Signals {
  // `button` asks for them and takes them back.
  constructor(button) {
    this.button = button;
    this.known = null;
    this.sound = null;
    this.isOn = localStorage.getItem(KEPT) === "on";
    navigator.serviceWorker?.register("/service.js").catch(() => {});
    button.addEventListener("click", () => this.turn());
    addEventListener("pointerdown", () => this.wake(), { once: true });
    addEventListener("keydown", () => this.wake(), { once: true });
    this.show();
  }

  async turn() {
    this.isOn = !this.isOn;
    localStorage.setItem(KEPT, this.isOn ? "on" : "off");
    this.show();
    if (!this.isOn) return;
    this.wake();
    this.play("BUY");
    if (globalThis.Notification?.permission === "default") await Notification.requestPermission();
    this.show();
  }

  // Browsers let a page make a sound only once somebody has touched it.
  wake() {
    if (!this.isOn) return;
    this.sound ??= new AudioContext();
    this.sound.resume();
  }

  show() {
    const refused = globalThis.Notification?.permission === "denied";
    const words = !this.isOn ? "off" : refused ? "on: sound only, this browser refuses notifications" : "on";
    this.button.setAttribute("aria-pressed", String(this.isOn));
    this.button.title = `Sound and notification of BUY, SELL, BLIND: ${words}`;
    this.button.textContent = this.isOn ? "🔔" : "🔕";
  }

  // The rows of the alerts as they are now; what was there at first is nothing new.
  hear(rows) {
    const fresh = this.known === null ? [] : rows.filter((row) => !this.known.has(row.id) && row.kind in SOUNDS);
    this.known = new Set(rows.map((row) => row.id));
    if (!this.isOn || !fresh.length) return;
    this.play(fresh[0].kind);
    for (const row of fresh) this.notify(row);
  }

  play(kind) {
    if (!this.sound) return;
    SOUNDS[kind].forEach((hertz, place) => {
      const [note, loudness] = [this.sound.createOscillator(), this.sound.createGain()];
      const at = this.sound.currentTime + place * NOTE_S * 1.2;
      note.frequency.value = hertz;
      loudness.gain.setValueAtTime(0.25, at);
      loudness.gain.exponentialRampToValueAtTime(0.001, at + NOTE_S);
      note.connect(loudness).connect(this.sound.destination);
      note.start(at);
      note.stop(at + NOTE_S);
    });
  }

  async notify(row) {
    if (globalThis.Notification?.permission !== "granted") return;
    const service = await navigator.serviceWorker?.ready;
    await service?.showNotification(row.title, { body: `${row.at} New York`, tag: row.id, icon: "/icon-192.png", requireInteraction: row.kind !== "BUY" });
  }
}
