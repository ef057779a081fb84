/// What a Redis answers, in RESP2.
public enum ModelReply: Equatable, Sendable {
  /// A word such as `OK`.
  case status(String)
  /// A refusal, its code first.
  case error(String)
  /// A number.
  case integer(Int64)
  /// Bytes.
  case bytes([UInt8])
  /// Nothing, where bytes were asked for.
  case null
  /// Nothing, where a list was asked for.
  case nullList
  /// Several replies.
  case list([ModelReply])

  static let ok = ModelReply.status("OK")

  static func text(_ text: String) -> ModelReply { .bytes(Array(text.utf8)) }
  static func list(_ all: [[UInt8]]) -> ModelReply { .list(all.map { .bytes($0) }) }
  static func optional(_ bytes: [UInt8]?) -> ModelReply { bytes.map { .bytes($0) } ?? .null }

  /// Appends the bytes on the wire.
  func encode(into target: inout [UInt8]) {
    switch self {
    case .status(let text): Self.line("+", text, &target)
    case .error(let text): Self.line("-", text, &target)
    case .integer(let number): Self.line(":", String(number), &target)
    case .bytes(let bytes):
      Self.line("$", String(bytes.count), &target)
      target += bytes
      target += [13, 10]
    case .null: Self.line("$", "-1", &target)
    case .nullList: Self.line("*", "-1", &target)
    case .list(let all):
      Self.line("*", String(all.count), &target)
      for reply in all { reply.encode(into: &target) }
    }
  }

  private static func line(_ kind: Character, _ text: String, _ target: inout [UInt8]) {
    target.append(kind.asciiValue!)
    target += Array(text.utf8)
    target += [13, 10]
  }

  /// Reads one reply, and moves `position` behind it; nil where it is not complete.
  public init?(_ bytes: [UInt8], _ position: inout Int) {
    var at = position
    guard let end = bytes[at...].firstIndex(of: 13), end + 1 < bytes.count else { return nil }
    let text = String(decoding: bytes[(at + 1)..<end], as: UTF8.self)
    let kind = bytes[at]
    at = end + 2
    switch kind {
    case UInt8(ascii: "+"): self = .status(text)
    case UInt8(ascii: "-"): self = .error(text)
    case UInt8(ascii: ":"): self = .integer(Int64(text) ?? 0)
    case UInt8(ascii: "$"):
      let count = Int(text) ?? -1
      if count < 0 {
        self = .null
        break
      }
      guard at + count + 2 <= bytes.count else { return nil }
      self = .bytes(Array(bytes[at..<(at + count)]))
      at += count + 2
    default:
      let count = Int(text) ?? -1
      if count < 0 {
        self = .nullList
        break
      }
      var all: [ModelReply] = []
      for _ in 0..<count {
        guard let next = ModelReply(bytes, &at) else { return nil }
        all.append(next)
      }
      self = .list(all)
    }
    position = at
  }
}

/// A refusal.
struct ModelFault: Error {
  let text: String

  init(_ text: String) { self.text = text }

  static let wrongType = ModelFault("WRONGTYPE Operation against a key holding the wrong kind of value")
  static let notAnInteger = ModelFault("ERR value is not an integer or out of range")
  static let notAFloat = ModelFault("ERR value is not a valid float")
  static let syntax = ModelFault("ERR syntax error")
}

/// A command's words.
struct ModelArguments {
  let all: [[UInt8]]

  var count: Int { all.count }
  subscript(index: Int) -> [UInt8] { all[index] }
  func from(_ index: Int) -> ArraySlice<[UInt8]> { all[min(index, all.count)...] }

  func text(_ index: Int) -> String { String(decoding: all[index], as: UTF8.self) }

  /// A word of the command language; empty where there is none.
  func keyword(_ index: Int) -> String { index < all.count ? text(index).uppercased() : "" }

  func integer(_ index: Int) throws(ModelFault) -> Int64 {
    guard index < all.count else { throw .syntax }
    return try Self.integer(all[index])
  }

  func double(_ index: Int) throws(ModelFault) -> Double {
    guard index < all.count else { throw .syntax }
    let text = text(index).lowercased()
    switch text {
    case "inf", "+inf": return .infinity
    case "-inf": return -.infinity
    default:
      guard let number = Double(text), !number.isNaN else { throw .notAFloat }
      return number
    }
  }

  static func integer(_ bytes: [UInt8]) throws(ModelFault) -> Int64 {
    let text = String(decoding: bytes, as: UTF8.self)
    // As Redis reads numbers: no plus, no leading zeros, no spaces.
    guard let number = Int64(text), String(number) == text else { throw .notAnInteger }
    return number
  }
}
