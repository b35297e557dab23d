'use strict'

const { MultiHyperbeeError, translated } = require('./errors.js')
const { decodeKey } = require('./keys.js')
const { resolveEncoding } = require('./encodings.js')
const native = require('../native.js')

const MAX_DRIFT = 60_000

/** Options of api.md that this version does not have yet, and what is refused until it does. */
const NOT_YET = {
  apply: 'apply mode is not there yet: leave out apply, open, close, update and optimistic',
  open: 'apply mode is not there yet: leave out apply, open, close, update and optimistic',
  close: 'apply mode is not there yet: leave out apply, open, close, update and optimistic',
  update: 'apply mode is not there yet: leave out apply, open, close, update and optimistic',
  optimistic: 'apply mode is not there yet: leave out apply, open, close, update and optimistic',
  relay: 'relays are not there yet: leave out relay',
  mergeHandler: 'custom merge handlers are not there yet: leave out mergeHandler',
  resolver: 'custom resolvers are not there yet: leave out resolver'
}

/**
 * The constructor's arguments in either form, checked.
 *
 * @returns {{ storage: string | object, name: string | null, key: Buffer | null, keyEncoding: object,
 *   valueEncoding: object, keyPair: object | null, encryptionKey: Uint8Array | Promise<Uint8Array> | null,
 *   encrypted: boolean | null, open: boolean, maxDrift: number }}
 */
function parseArguments(storage, second, third, isStore) {
  const keyForm = second == null || typeof second === 'string' || second instanceof Uint8Array
  const options = (keyForm ? third : second) ?? {}
  if (!keyForm && third != null) throw wrong(NOT_YET.mergeHandler)
  checkOptions(options)
  const key = keyForm && second != null ? second : options.key
  const { name = null, keyEncoding = 'utf-8', valueEncoding = 'json', keyPair = null, writers } = options
  return {
    storage: checkStorage(storage, isStore),
    name,
    key: key == null ? null : decodeKey(key),
    keyEncoding: resolveEncoding(keyEncoding, 'keyEncoding'),
    valueEncoding: resolveEncoding(valueEncoding, 'valueEncoding'),
    keyPair,
    ...parseSealing(options),
    open: writers === 'open',
    maxDrift: options.maxDrift ?? MAX_DRIFT
  }
}

function checkOptions(options) {
  if (typeof options !== 'object') throw wrong('options must be an object')
  for (const [name, message] of Object.entries(NOT_YET)) {
    if (options[name] != null && options[name] !== false) throw wrong(message)
  }
  const { name, writers, maxDrift, history } = options
  if (name != null && (typeof name !== 'string' || name === '')) throw wrong('name must be a text')
  if (writers != null && writers !== 'granted' && writers !== 'open') {
    throw wrong("writers must be 'granted' or 'open'")
  }
  if (maxDrift != null && !(maxDrift >= 0))
    throw wrong('maxDrift must be a number of milliseconds, 0 or more')
  if (history != null && history !== 'all')
    throw wrong("history other than 'all' is not there yet: leave it out")
}

function checkStorage(storage, isStore) {
  if (typeof storage === 'string' && storage !== '') return storage
  if (isStore(storage)) return storage
  throw wrong("storage must be the path of a directory, ':memory:', or a Store of this package")
}

/** @returns {{ key: Buffer, encryptionKey: Buffer | null }} */
function parseInvite(text) {
  if (typeof text !== 'string') throw wrong('an invite is the text that createInvite gave')
  const { key, encryptionKey } = translated(() => native.parseInvite(text))
  return { key, encryptionKey: encryptionKey ?? null }
}

/** The seed of a key pair: sodium's 64-byte secret keys begin with it. */
async function seedOf(keyPair) {
  if (keyPair === null) return undefined
  const { secretKey } = (await keyPair) ?? {}
  const bytes = secretKey instanceof Uint8Array ? Buffer.from(secretKey) : null
  if (bytes?.length === 64 || bytes?.length === 32) return bytes.subarray(0, 32)
  throw wrong('keyPair must be { publicKey, secretKey }, the secret key of 64 bytes')
}

const KEY_BYTES = 32

function parseSealing({ encryptionKey, encrypted }) {
  if (encrypted != null && typeof encrypted !== 'boolean') throw wrong('encrypted must be true or false')
  if (encrypted === false && encryptionKey != null) {
    throw wrong('encrypted: false and an encryptionKey contradict each other: leave out one')
  }
  return { encryptionKey: checkEncryptionKey(encryptionKey ?? null), encrypted: encrypted ?? null }
}

/** What can be said before a promise of it is kept. */
function checkEncryptionKey(encryptionKey) {
  const isPromise = typeof encryptionKey?.then === 'function'
  if (encryptionKey === null || isPromise || isKey(encryptionKey)) return encryptionKey
  throw wrong(`encryptionKey must be a Buffer of ${KEY_BYTES} bytes, or a promise of one`)
}

const isKey = (key) => key instanceof Uint8Array && key.length === KEY_BYTES

/**
 * The key a database is sealed with: its own, else its store's, unless it says that it is not encrypted.
 *
 * @returns {Promise<Buffer | undefined>}
 */
async function encryptionKeyOf({ encryptionKey, encrypted }, ofStore) {
  const key = await (encryptionKey ?? (encrypted === false ? null : ofStore))
  if (isKey(key)) return Buffer.from(key)
  if (key != null) throw wrong(`encryptionKey must be a Buffer of ${KEY_BYTES} bytes, or a promise of one`)
  if (encrypted !== true) return undefined
  const message = 'the database is to be encrypted: pass its encryptionKey, a Buffer of 32 random bytes'
  throw new MultiHyperbeeError('ERR_ENCRYPTION_KEY', message)
}

function wrong(message) {
  return new MultiHyperbeeError('ERR_OPTIONS', message)
}

module.exports = { checkEncryptionKey, encryptionKeyOf, parseArguments, parseInvite, seedOf }
