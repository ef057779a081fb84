import Core
import Crypto
import HTTP

/// Values of fields that say how a request is signed, and hashes of passwords.
enum StructuredTargets {
  /// Whatever is read has one text, which means the same; what is small enough for anybody is small enough for all.
  @Sendable
  static func field(_ bytes: RawSpan) {
    // What is written may be a little longer than what was read: a blank behind each comma.
    guard bytes.byteCount <= 60_000 else { return }
    let text = bytes.array
    var small = StructuredLimits()
    (small.bytes, small.members, small.items, small.parameters) = (64, 4, 4, 2)
    if let item = try? StructuredField.item(text) {
      let again = try? StructuredField.item(item.text)
      precondition(again == item && item.text == again?.text)
    } else {
      precondition((try? StructuredField.item(text, limits: small)) == nil)
    }
    if let list = try? StructuredField.list(text) {
      precondition(list.count <= small.members || (try? StructuredField.list(text, limits: small)) == nil)
      precondition((try? StructuredField.list(StructuredField.text(of: list))) == list)
    }
    if let dictionary = try? StructuredField.dictionary(text) {
      precondition((try? StructuredField.dictionary(dictionary.text)) == dictionary)
      precondition(Set(dictionary.members.map(\.key)).count == dictionary.members.count)
      for (key, value) in dictionary.members { precondition(dictionary[key] == value) }
      if let strict = try? StructuredField.unambiguousDictionary(text) { precondition(strict == dictionary) }
    } else {
      precondition((try? StructuredField.unambiguousDictionary(text)) == nil)
    }
  }

  /// A hash of a password has one text.
  @Sendable
  static func passwordHash(_ bytes: RawSpan) {
    guard bytes.byteCount <= 1_024 else { return }
    let text = String(decoding: bytes.array, as: UTF8.self)
    guard let hash = try? PasswordHash(text) else { return }
    precondition(hash.text == text && (try? PasswordHash(hash.text)) == hash)
  }
}
