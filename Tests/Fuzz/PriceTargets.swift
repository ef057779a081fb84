import Core
import Policies

/// What reading prices promises.
enum PriceTargets {
  /// No amount, or one that is written as it was read and lies within its bounds.
  @Sendable
  static func number(_ bytes: RawSpan) {
    let text = String(decoding: bytes.array, as: UTF8.self)
    guard let number = PriceNumber(text) else { return }
    precondition(number.text == text, "an amount changes when it is written")
    precondition((0..<1_000_000_000_000_000_000).contains(number.billionths), "an amount is out of bounds")
    precondition((0...9).contains(number.decimals) && text.utf8.count <= 19)
  }
}
