'use strict'

/**
 * The values of one batch as `apply` gets them.
 *
 * @param {object} batch as it was unpacked
 * @param {{ offset: number, bytes: Buffer }[]} values of the batch; one just appended did not cross
 * @param {{ decode: (bytes: Buffer) => any, name: string }} valueEncoding
 */
function nodesOf(batch, values, valueEncoding) {
  const { writer: key, seq, entries, timestamp, optimistic } = batch
  const links = Object.freeze(batch.links)
  return values.map(({ offset, bytes }) => {
    const node = {
      key,
      value: undefined,
      length: seq + offset + 1,
      timestamp,
      links,
      batch: { start: offset, end: entries - offset - 1 },
      optimistic
    }
    if (valueEncoding.name === 'binary') node.value = bytes
    else decodeInto(node, bytes, valueEncoding)
    return node
  })
}

/** What a writer put there need not be of the encoding: then it is `apply` that finds out, and may go on without it. */
function decodeInto(node, bytes, valueEncoding) {
  try {
    node.value = valueEncoding.decode(bytes)
  } catch (error) {
    const get = () => {
      throw error
    }
    Object.defineProperty(node, 'value', { get, enumerable: false, configurable: true })
  }
}

module.exports = { nodesOf }
