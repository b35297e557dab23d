'use strict'

/**
 * Gives a class the methods that its parts have.
 *
 * @param {Function} Class
 * @param {Record<string, string>} parts the property that holds a part, and the names of its methods
 */
function delegate(Class, parts) {
  for (const [part, names] of Object.entries(parts)) {
    for (const name of names.split(' ')) {
      const value = function (...args) {
        return this[part][name](...args)
      }
      Object.defineProperty(Class.prototype, name, { configurable: true, writable: true, value })
    }
  }
}

module.exports = { delegate }
