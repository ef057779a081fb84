/// Percent-encoding, and queries made of it, for the slow path of the admin port.
enum PercentText {
  /// The text that `encoded` stands for; nil where an escape is broken or the bytes are not UTF-8.
  static func decoded(_ encoded: some StringProtocol) -> String? {
    var bytes: [UInt8] = []
    var rest = Array(encoded.utf8)[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      guard let high = rest.popFirst(), let low = rest.popFirst(),
        let value = UInt8(String(decoding: [high, low], as: UTF8.self), radix: 16), high != UInt8(ascii: "+")
      else { return nil }
      bytes.append(value)
    }
    return String(validating: bytes, as: UTF8.self)
  }
}

extension AdminRequest {
  /// The value of a query parameter, the first where there are several; nil where it is missing, empty or broken.
  func parameter(_ name: String) -> String? {
    for pair in query.split(separator: "&") {
      let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2, PercentText.decoded(parts[0]) == name else { continue }
      let value = PercentText.decoded(parts[1].replacing("+", with: " "))
      return value?.isEmpty == true ? nil : value
    }
    return nil
  }
}
