'use strict'

const { MultiHyperbeeError, translated } = require('./errors.js')
const { Bee } = require('./bee.js')
const { Codec } = require('./codec.js')
const { translatedAsync } = require('./session.js')
const { waitUntil } = require('./wait.js')

const REOPEN = 'a database is created with apply to have it'

/** What a database does in merge mode, and not in apply mode. */
class MergeMode {
  constructor(db, session, { keyEncoding, valueEncoding }) {
    this.interrupted = null
    this.stats = null
    this.bee = new Bee(session, new Codec(keyEncoding, valueEncoding))
    /** The view is the database itself. */
    this.view = db
    this._db = db
    this._session = session
  }

  /** Processes what is here. */
  async update() {
    const native = await this._session.ready()
    // No writes: an answer that comes after everything queued before it.
    await translatedAsync(translated(() => native.write(Buffer.alloc(4))))
  }

  async updated() {
    await this.update()
  }

  /** Waits until everything that any connected peer has announced is here and applied. */
  async flush(options) {
    await this.update()
    const native = await this._session.ready()
    await waitUntil(this._session, () => native.isFlushed(), options, 'flush')
  }

  finality() {
    this._session.native()
    const reason =
      'finality is for apply mode: in merge mode a value may always gain from a diff that comes late'
    return { length: 0, timestamp: null, waitingFor: [], reason }
  }

  views() {
    this._session.native()
    throw refusal('views', REOPEN)
  }

  progress() {}

  /** An access request is granted. */
  accept(key, options) {
    return this._db.addWriter(key, options)
  }

  mayInvite() {}

  async append() {
    this._session.accept()
    throw refusal('append', 'this database merges, write with put, del or batch')
  }

  async verify() {
    this._session.accept()
    throw refusal('verify({ replay: true })', 'here there is no apply to run again')
  }
}

for (const name of ['wakeup', 'setLocal', 'replay']) {
  MergeMode.prototype[name] = async function () {
    this._session.accept()
    throw refusal(name, REOPEN)
  }
}

function refusal(name, instead) {
  return new MultiHyperbeeError('ERR_MODE', `${name} is for apply mode: ${instead}`)
}

module.exports = { MergeMode }
