'use strict'

const { Duplex } = require('node:stream')
const { MultiHyperbeeError, translated } = require('./errors.js')

/** As much as one crossing brings out of the core, and one write hands to the other side. */
const PULL_BYTES = 64 * 1024
const TICK_MS = 1000

/**
 * One session with one peer, as the bytes it speaks: what is written to it came from the other side, what is read from
 * it goes there. The session itself is in the core, without I/O of its own. Events besides a Duplex's: `open`
 * (userData), `remote-feeds`, `synced`.
 */
class ReplicationStream extends Duplex {
  /**
   * @param {(options: object, wake: () => void) => Promise<object>} open resolves to the native peer
   * @param {{ initiator: boolean, handshakeHash?: () => Promise<Buffer>, live?: boolean, download?: boolean,
   *   upload?: boolean, timeout?: number, userData?: Buffer }} options
   */
  constructor(open, options) {
    super({ readableHighWaterMark: PULL_BYTES, writableHighWaterMark: PULL_BYTES })
    this.id = null
    this.userData = null
    /** Which databases (null: the store) hear of its errors. */
    this.reporting = new Set()
    this._open = open
    this._options = options
    this._peer = null
    /** The callback of a write the core asked to hold back after. */
    this._held = null
    this._wanted = false
    this._finished = false
    this._ticker = null
    this._heard = Date.now()
  }

  _construct(callback) {
    this._start().then(() => callback(), callback)
  }

  async _start() {
    const { initiator, live = true, download = true, upload = true, userData } = this._options
    const handshakeHash = await this._options.handshakeHash?.()
    const options = { initiator, handshakeHash, live, download, upload, userData: userData ?? undefined }
    try {
      this._peer = await this._open(options, wakerOf(new WeakRef(this)))
    } catch (error) {
      throw MultiHyperbeeError.from(error)
    }
    if (this.destroyed) {
      this._peer.close()
      return
    }
    this.id = this._peer.id
    // Nobody stays up for a silent connection: the socket under it holds the process, not this.
    this._ticker = setInterval(() => this._tick(), TICK_MS).unref()
    this.emit('open')
    this._woken()
  }

  /** Carries more of the same store, from now on or once it is open: `offer(peer)` tells the core. */
  join(offer) {
    if (this._peer === null) {
      this.once('open', () => this.join(offer))
      return
    }
    offer(this._peer).catch((error) => {
      // A database that closed meanwhile, or a connection that is over, has nothing to carry.
      if (MultiHyperbeeError.from(error).code !== 'ERR_CLOSED') this.destroy(MultiHyperbeeError.from(error))
    })
  }

  _write(chunk, _encoding, callback) {
    this._heard = Date.now()
    try {
      const more = translated(() => this._peer.receive(chunk))
      this._pump()
      if (more || this._peer.readyForMore()) callback()
      else this._held = callback
    } catch (error) {
      // What the core has to say about it goes out first.
      this._wanted = true
      this._pump()
      callback(error)
    }
  }

  _read() {
    this._wanted = true
    this._pump()
  }

  /** No more comes from the other side: there is nobody to talk to, whether it said goodbye or not. */
  _final(callback) {
    this._peer.ended()
    this._finished = true
    callback()
    this._woken()
  }

  _destroy(error, callback) {
    clearInterval(this._ticker)
    this._peer?.close()
    const held = this._held
    this._held = null
    held?.()
    callback(error)
  }

  _pump() {
    if (this._peer === null) return
    try {
      while (this._wanted && !this.destroyed && !this.readableEnded) {
        const bytes = translated(() => this._peer.pull(PULL_BYTES))
        if (bytes === null) break
        this._wanted = this.push(bytes)
      }
      if (this._finished && this._wanted && !this.destroyed) this._finish()
    } catch (error) {
      this.destroy(error)
    }
  }

  _finish() {
    this._wanted = false
    this.push(null)
    // The other side is gone, or going: nobody might read to the end.
    setImmediate(() => this.resume())
  }

  /** The core has bytes, room or events; called through one weak, coalesced wake-up. */
  _woken() {
    if (this.destroyed || this._peer === null) return
    for (const event of this._peer.takeEvents()) this._onevent(event)
    if (this.destroyed) return
    if (this._held !== null && this._peer.readyForMore()) {
      const held = this._held
      this._held = null
      held()
    }
    this._pump()
  }

  _onevent(event) {
    if (event.kind === 'error') {
      this._wanted = true
      this._pump()
      this.destroy(MultiHyperbeeError.from(new Error(event.error)))
    } else if (event.kind === 'open') {
      this.userData = event.data
    } else if (event.kind === 'finished') {
      // Both sides have everything, and this one asked for no more: goodbye.
      this._peer.close()
    } else if (event.kind === 'closed') {
      this._finished = true
      this.end()
    } else this.emit(event.kind)
  }

  _tick() {
    this._peer.tick()
    const { timeout } = this._options
    if (timeout > 0 && Date.now() - this._heard > timeout) {
      this.destroy(new MultiHyperbeeError('ERR_TIMEOUT', `the peer was silent for ${timeout} ms`))
    } else this._woken()
  }
}

/**
 * The core holds this callback, and so all it reaches, for as long as the peer is there: a stream that is over would keep
 * itself, and its peer. Made out here, where it shares no scope with what uses the stream.
 */
function wakerOf(weak) {
  return () => weak.deref()?._woken()
}

module.exports = { ReplicationStream }
