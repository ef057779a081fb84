import Core
import Pipeline

/// Names that people hand over.
enum NameTargets {
  /// What is read as percent-encoded text is read again as the same when it is written.
  @Sendable
  static func percentText(_ bytes: RawSpan) {
    let text = String(decoding: bytes.array, as: UTF8.self)
    precondition(PercentText.decoded(PercentText.encoded(text)) == text, "a text changes when it is escaped")
    guard let decoded = PercentText.decoded(text) else { return }
    precondition(decoded.utf8.count <= text.utf8.count, "escapes stand for more than they are")
    precondition(
      PercentText.decoded(PercentText.encoded(decoded)) == decoded, "a text changes when it is escaped again")
  }

  /// What is read as a decision is written as 32 digits, which are read as the same.
  @Sendable
  static func decision(_ bytes: RawSpan) {
    guard let decision = DecisionID(text: String(decoding: bytes.array, as: UTF8.self)) else { return }
    let buffer = ByteBuffer()
    decision.write(into: buffer)
    precondition(buffer.count == 32 && bytes.byteCount >= 32, "a decision has 32 digits")
    precondition(
      DecisionID(text: String(decoding: buffer.array, as: UTF8.self)) == decision,
      "a decision changes when it is written")
  }
}
