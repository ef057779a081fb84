import Core

/// What the store answered to one command of the agent, as a value that can be kept.
public enum AgentReply: Equatable, Sendable {
  /// Bytes, or a short status.
  case bytes([UInt8])
  /// A number.
  case integer(Int64)
  /// Several answers.
  case list([AgentReply])
  /// Nothing where something could have been.
  case null
  /// The store, or a verb, says no: the first word of its reason, and the whole reason.
  case refused(code: String, reason: String)
  /// There is no answer. Where it may have run, it must be found out before it is done again.
  case failed(mayHaveRun: Bool)

  init(_ value: RedisValue) {
    switch value.kind {
    case .bytes, .status: self = .bytes(Self.copy(value.bytes))
    case .integer: self = .integer(value.integer ?? 0)
    case .null: self = .null
    case .error:
      let text = value.text
      self = .refused(code: String(text.prefix { $0 != " " }), reason: text)
    case .array:
      var items: [AgentReply] = []
      items.reserveCapacity(value.count)
      for index in 0..<value.count { items.append(AgentReply(value[index])) }
      self = .list(items)
    }
  }

  private static func copy(_ span: RawSpan) -> [UInt8] { unsafe span.withUnsafeBytes { unsafe Array($0) } }

  /// The bytes; nil for everything else.
  public var bytes: [UInt8]? { if case .bytes(let bytes) = self { bytes } else { nil } }

  /// The bytes as text; nil for everything else.
  public var text: String? { bytes.map { String(decoding: $0, as: UTF8.self) } }

  /// A number, or bytes that are one in decimal; nil for everything else.
  public var number: Int64? { if case .integer(let number) = self { number } else { text.flatMap { Int64($0) } } }

  /// The answers of a list; none for everything else.
  public var items: [AgentReply] { if case .list(let items) = self { items } else { [] } }

  /// The value behind `name` in a list of names and values; nil where there is none.
  public subscript(name: String) -> AgentReply? {
    let items = items
    let place = stride(from: 0, to: items.count - 1, by: 2).first { items[$0].text == name }
    return place.map { items[$0 + 1] }
  }
}
