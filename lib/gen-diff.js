'use strict'

// Diffs of puts that the user's `genDiff` makes instead of the built-in one.

const { stripped, diffText } = require('./codec.js')
const { readEntry } = require('./reader.js')
const { translated } = require('./errors.js')
const { ANY, ABSENT, exactly } = require('./packed.js')

/** Whether the diff of this write is `genDiff`'s to make: neither a register's nor given by the caller. */
function isGenerated(session, write) {
  return write.register === null && write.diff === '' && Boolean(session.merger?.genDiff)
}

/**
 * Asks for the diff of a put.
 *
 * @param {{ value: object, seq: number } | null} prev what the put would overwrite
 * @returns {Promise<{ diff: string, current: boolean } | null>} `current`: it was made of `prev`; null: nothing changed
 */
async function generate(session, native, codec, { key, write, value, prev }) {
  let old = prev
  if (write.base !== '') {
    const packed = translated(() => native.entryAt(write.key, write.base, codec.form))
    old = session.merger.entry(packed, key)
  }
  const diff = await session.merger.makeDiff(old === null ? {} : stripped(old.value), stripped(value))
  if (diff === undefined) return null
  return { diff: diffText(diff), current: old === prev || old?.seq === prev?.seq }
}

/** A put past the queue: read, `cas` if there is one, `genDiff`, write; again if something came between. */
async function putGenerated(session, codec, { key, write, value, cas, pack }) {
  const lock = await session.queue.lock()
  try {
    for (;;) {
      const native = await session.ready()
      const prev = readEntry(native, codec, key, null)
      const next = { seq: native.version() + 1, key, value }
      if (cas && prev !== null && !(await cas(prev, next))) return { kind: 'no' }
      const made = await generate(session, native, codec, { key, write, value, prev })
      if (made === null) return { kind: 'no' }
      const expect = expected(prev, Boolean(cas) || made.current)
      const result = await lock.submit((packer) => pack(packer, { ...write, diff: made.diff }, expect))
      if (result.kind !== 'conflict') return result
    }
  } finally {
    lock.release()
  }
}

function expected(prev, conditional) {
  if (!conditional) return ANY
  return prev === null ? ABSENT : exactly(prev.seq)
}

module.exports = { isGenerated, generate, putGenerated, expected }
