'use strict'

/** Hyperbee's batch inside `apply`: reads its own writes, which show elsewhere once it is flushed. */
class WorkingBatch {
  /**
   * @param {import('./view.js').WorkingView} view
   * @param {import('./write-batch.js').WriteBatch} writes
   * @param {import('../codec.js').Codec} codec
   */
  constructor(view, writes, codec) {
    this._view = view
    this._writes = writes
    this._codec = codec
  }

  async put(key, value, options) {
    if (!(await this._allowed(key, value, options))) return false
    this._writes.tryPut(key, value)
    return true
  }

  async del(key, options) {
    if (!(await this._allowed(key, null, options))) return false
    this._writes.tryDelete(key)
    return true
  }

  async get(key, options) {
    const codec = this._codec.with(options)
    const own = this._writes.own(codec.encodeKey(key))
    if (own === undefined) return this._view.get(key, options)
    return own === null ? null : { key, value: codec.valueEncoding.decode(Buffer.from(own)) }
  }

  async peek(range, options) {
    return this._merged().peek(range, options)
  }

  createReadStream(range, options) {
    return this._merged().createReadStream(range, options)
  }

  flush() {
    return this._writes.flush()
  }

  close() {
    return this._writes.close()
  }

  async _allowed(key, value, { cas, ...options } = {}) {
    if (!cas) return true
    const prev = await this.get(key, options)
    return prev === null ? value !== null : Boolean(await cas(prev, { key, value }))
  }

  /** A snapshot of the view with what is written here. */
  _merged() {
    const merged = this._view.snapshot()
    this._writes.writeInto(merged._frozen)
    return merged
  }
}

module.exports = { WorkingBatch }
