'use strict'

const { MultiHyperbeeError, translated } = require('./errors.js')
const { translatedAsync } = require('./session.js')
const { waitUntil } = require('./wait.js')
const { parseInvite } = require('./options.js')

/** `MultiHyperbee.join`: opens the database of an invite, and asks with it. */
function join(Database, storage, invite, options) {
  const { key, encryptionKey } = parseInvite(invite)
  const { userData, ...rest } = options ?? {}
  if (encryptionKey !== null) rest.encryptionKey = encryptionKey
  encodeUserData(userData)
  const db = new Database(storage, { ...rest, key })
  // Nobody awaits it here: waitForWritable tells what became of it, ready() why it did not open.
  db.requestAccess(userData, { invite }).catch(() => {})
  return db
}

const MAX_USER_DATA = 4096
const MAX_USES = 0xffffffff - 1

/** Asking to be a writer, and being asked. */
class Access {
  constructor(db, session) {
    this._db = db
    this._session = session
    /** Requests that came before anybody listened. */
    this._unheard = []
    /** Which asking is the last. */
    this._asked = null
    db.on('newListener', (name) => {
      if (name === 'access-request' && this._unheard.length > 0) process.nextTick(() => this._emitAll())
    })
  }

  /** Resolves when a device that may accept has heard it. */
  async requestAccess(userData, options) {
    const data = encodeUserData(userData)
    const native = await this._session.ready()
    translated(() => native.requestAccess(data, options?.invite))
    const asked = (this._asked = Symbol('asked'))
    const heard = () => this._db.writable || this._isHeard(native)
    try {
      await waitUntil(this._session, heard, options, 'requestAccess: no device that may accept has answered')
    } catch (error) {
      // Who gave up waiting does not want to be let in later.
      const gaveUp = error.code === 'ERR_TIMEOUT' || error.code === 'ERR_ABORTED'
      if (gaveUp && this._asked === asked) native.cancelAccess()
      throw error
    }
  }

  async waitForWritable(options) {
    const native = await this._session.ready()
    const granted = () => this._db.writable || (this._isHeard(native), false)
    await waitUntil(this._session, granted, options, 'waiting to be granted')
  }

  /** Throws if it was refused. */
  _isHeard(native) {
    const state = native.access()
    if (state === 'none' || state === 'asked' || state === 'heard') return state === 'heard'
    throw new MultiHyperbeeError('ERR_NOT_PERMITTED', `${state}: ask again with requestAccess`)
  }

  /** @returns {Promise<string>} */
  async createInvite(options) {
    const { expires, uses = 1, isIndexer = false } = options ?? {}
    const at = expires instanceof Date ? expires.getTime() : expires
    if (at != null && !(at > 0 && Number.isFinite(at))) {
      throw wrong('expires must be a Date or milliseconds since 1970, as Date.now() counts them')
    }
    if (uses !== Infinity && !(Number.isInteger(uses) && uses > 0 && uses <= MAX_USES)) {
      throw wrong('uses must be a number from 1 on, or Infinity')
    }
    const native = await this._session.ready()
    this._db._mode.mayInvite()
    const count = uses === Infinity ? undefined : uses
    return translatedAsync(translated(() => native.createInvite(at ?? undefined, count, Boolean(isIndexer))))
  }

  /** The core reports a request. */
  heard({ key, data }) {
    const db = this._db
    const settled = (promise) => {
      // `request => request.accept()` leaves the promise to nobody: what fails is reported, not unhandled.
      promise.catch((error) => error.code === 'ERR_CLOSED' || db._reports.report(error))
      return promise
    }
    this._unheard.push({
      key,
      userData: decodeUserData(data),
      accept: (options) => settled(db._mode.accept(key, options)),
      reject: () => settled(this._reject(key))
    })
    if (db.listenerCount('access-request') > 0) this._emitAll()
    else if (this._unheard.length > MAX_UNHEARD) this._unheard.shift()
  }

  _emitAll() {
    for (const request of this._unheard.splice(0)) this._db.emit('access-request', request)
  }

  async _reject(key) {
    const native = await this._session.ready()
    return translated(() => native.rejectAccess(key))
  }
}

/** As many as the core keeps. */
const MAX_UNHEARD = 256

function encodeUserData(userData) {
  if (userData === undefined) return Buffer.alloc(0)
  let text
  try {
    text = JSON.stringify(userData)
  } catch (cause) {
    throw new MultiHyperbeeError('ERR_INVALID_VALUE', `userData is not JSON: ${cause.message}`, { cause })
  }
  if (text === undefined) throw new MultiHyperbeeError('ERR_INVALID_VALUE', 'userData is not JSON')
  const data = Buffer.from(text)
  if (data.length <= MAX_USER_DATA) return data
  const size = `userData has ${data.length} bytes as JSON; at most ${MAX_USER_DATA}`
  throw new MultiHyperbeeError('ERR_VALUE_TOO_LARGE', size)
}

/** What a stranger sent: undefined if it is no JSON. */
function decodeUserData(data) {
  try {
    return data.length === 0 ? undefined : JSON.parse(data.toString())
  } catch {
    return undefined
  }
}

function wrong(message) {
  return new MultiHyperbeeError('ERR_OPTIONS', message)
}

module.exports = { Access, join }
