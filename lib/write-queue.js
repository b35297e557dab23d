'use strict'

const { MultiHyperbeeError } = require('./errors.js')
const { WritePacker, decodeResults } = require('./packed.js')

/** Packed buffers under way at once: one being committed, one being gathered by the core. More only adds latency. */
const MAX_IN_FLIGHT = 2
/** What one crossing may weigh, unless a single write is larger. */
const MAX_PACKED_BYTES = 8 << 20

/**
 * The writes of one handle, in the order of their calls. Those of one tick cross into the core as one buffer behind one
 * promise; while two buffers are under way, later ticks gather. A lock is a place in the same queue: it is granted when
 * everything before it is committed, and what comes after it waits for its release.
 */
class WriteQueue {
  /** @param {() => object} native the open database; throws `ERR_CLOSED` */
  constructor(native) {
    this._native = native
    this._items = []
    this._packer = new WritePacker()
    this._inFlight = 0
    this._locked = false
    this._scheduled = false
    this._idle = []
    this._failure = null
    // Until the database is open, what is written waits.
    this._started = false
  }

  start() {
    this._started = true
    this._drain()
  }

  /** The database did not open: nothing that waits, or comes, is written. */
  fail(error) {
    this._failure = error
    for (const item of this._items.splice(0)) item.reject(error)
  }

  /**
   * @param {(packer: WritePacker) => void} pack adds exactly one write
   * @returns {Promise<object>} its result, as `decodeResults` gives it; rejects if it was refused
   */
  write(pack) {
    return new Promise((resolve, reject) => {
      this._items.push({ pack, resolve, reject, lock: false })
      this._schedule()
    })
  }

  /** @returns {Promise<Lock>} */
  lock() {
    return new Promise((resolve, reject) => {
      this._items.push({ pack: null, resolve, reject, lock: true })
      this._schedule()
    })
  }

  /** Resolves when nothing is queued, under way or locked. */
  drained() {
    if (this._isIdle()) return Promise.resolve()
    return new Promise((resolve) => this._idle.push(resolve))
  }

  /** Sends one write past the queue: for the holder of the lock. */
  async submit(pack) {
    const packer = new WritePacker()
    pack(packer)
    try {
      return settled(decodeResults(await this._native().write(packer.take()))[0])
    } catch (error) {
      throw MultiHyperbeeError.from(error)
    }
  }

  _schedule() {
    if (this._scheduled) return
    this._scheduled = true
    queueMicrotask(() => {
      this._scheduled = false
      this._drain()
    })
  }

  _drain() {
    if (this._failure !== null) this.fail(this._failure)
    if (!this._started) return
    while (this._items.length > 0 && !this._locked && this._inFlight < MAX_IN_FLIGHT) {
      if (!this._items[0].lock) this._send(this._takeWrites())
      else if (this._inFlight > 0) return
      else this._grant(this._items.shift())
    }
    if (this._isIdle()) for (const resolve of this._idle.splice(0)) resolve()
  }

  _grant(item) {
    this._locked = true
    item.resolve(new Lock(this))
  }

  _unlock() {
    this._locked = false
    this._drain()
  }

  /** The writes up to the next lock, packed. */
  _takeWrites() {
    const items = []
    const packer = this._packer
    let end = 0
    while (end < this._items.length && !this._items[end].lock && packer.byteLength < MAX_PACKED_BYTES) {
      const item = this._items[end++]
      item.pack(packer)
      items.push(item)
    }
    this._items.splice(0, end)
    return items
  }

  async _send(items) {
    this._inFlight++
    try {
      // Taken even if the handle is closed: the packer starts anew.
      const packed = this._packer.take()
      const results = decodeResults(await this._native().write(packed))
      items.forEach((item, i) => {
        if (results[i].kind === 'error') item.reject(results[i].error)
        else item.resolve(results[i])
      })
    } catch (error) {
      for (const item of items) item.reject(MultiHyperbeeError.from(error))
    } finally {
      this._inFlight--
      this._drain()
    }
  }

  _isIdle() {
    return this._items.length === 0 && this._inFlight === 0 && !this._locked
  }
}

/** The right to write past the queue until `release`. */
class Lock {
  constructor(queue) {
    this._queue = queue
    this._held = true
  }

  submit(pack) {
    return this._queue.submit(pack)
  }

  release() {
    if (!this._held) return
    this._held = false
    this._queue._unlock()
  }
}

function settled(result) {
  if (result.kind === 'error') throw result.error
  return result
}

module.exports = { WriteQueue, settled }
