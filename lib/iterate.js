'use strict'

const { Pace } = require('./pace.js')

/** What stands for a chunk behind the last one. */
const END = []

/**
 * Iterates over the chunks of a stream that nobody else reads, without a detour through its buffer.
 *
 * @param {import('node:stream').Readable} stream ended early, it is destroyed; its errors end the iteration
 * @param {() => any[] | null} nextChunk the next entries, possibly none yet; null at the end
 * @param {() => Promise<void>} opened
 */
function iterate(stream, nextChunk, opened) {
  let chunk = []
  let index = 0
  let failed = null
  let over = false
  let isOpen = false
  const pace = new Pace()
  stream.once('error', (error) => (failed = error))

  const closed = () =>
    stream.closed ? Promise.resolve() : new Promise((resolve) => stream.once('close', resolve))
  const end = async () => {
    over = true
    stream.destroy()
    await closed()
    return { value: undefined, done: true }
  }
  const cut = async () => {
    over = true
    await closed()
    throw failed ?? stream.errored ?? prematureClose()
  }
  const ended = () => over || stream.destroyed

  return {
    async next() {
      if (!isOpen) {
        await opened()
        isOpen = true
      }
      while (index === chunk.length && !ended()) {
        if (pace.due()) {
          await new Promise((resolve) => pace.turn(resolve))
          continue
        }
        try {
          chunk = nextChunk() ?? END
        } catch (error) {
          stream.destroy(error)
          break
        }
        index = 0
        if (chunk === END) return end()
      }
      if (over) return { value: undefined, done: true }
      // Somebody else has destroyed the stream.
      if (stream.destroyed) return cut()
      return { value: chunk[index++], done: false }
    },
    return() {
      return end()
    },
    [Symbol.asyncIterator]() {
      return this
    }
  }
}

/** As Node says it of its own streams. */
function prematureClose() {
  return Object.assign(new Error('Premature close'), { code: 'ERR_STREAM_PREMATURE_CLOSE' })
}

module.exports = { iterate }
