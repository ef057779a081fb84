import Core
import Pipeline

extension AdminRoute {
  /// Something that a request says in its path or query.
  public struct Parameter: Sendable {
    /// What it may be: the check of requests, and what `/openapi.json` says of it.
    public enum Kind: Sendable {
      /// Any text of up to so many bytes, at least one.
      case text(most: Int)
      /// A whole number.
      case integer(ClosedRange<Int64>)
      /// `true` or `false`.
      case flag
      /// One of these.
      case word([String])
      /// An IP address.
      case address
      /// 32 hexadecimal digits, as a problem document's `instance` has them, or that whole.
      case decision
      /// The id of a key of the cluster.
      case key
      /// A duration as in the configuration: `250ms`, `5s`, `1m`.
      case duration
      /// A moment as RFC 3339 writes it.
      case moment

      /// Any name.
      public static let name = Kind.text(most: 256)

      /// Whether `text` is such a thing.
      func accepts(_ text: String) -> Bool {
        switch self {
        case .text(let most): (1...most).contains(text.utf8.count) && !text.utf8.contains { $0 < 32 || $0 == 127 }
        case .integer(let range):
          text.utf8.allSatisfy { $0 >= 48 && $0 <= 57 || $0 == 45 } && Int64(text).map(range.contains) == true
        case .flag: text == "true" || text == "false"
        case .word(let words): words.contains(text)
        case .address: IPAddress(text) != nil
        case .decision: DecisionID(text: text) != nil
        case .key: KeyID(text) != nil
        case .duration: Self.isDuration(text)
        case .moment: WallTime(rfc3339: text) != nil
        }
      }

      /// So many digits and a unit that nothing is longer than ten years.
      private static func isDuration(_ text: String) -> Bool {
        let digits = text.utf8.prefix { $0 >= 48 && $0 <= 57 }.count
        switch text.utf8.dropFirst(digits) {
        case let unit where unit.elementsEqual("ms".utf8) || unit.elementsEqual("s".utf8):
          return (1...8).contains(digits)
        case let unit where unit.elementsEqual("m".utf8) || unit.elementsEqual("h".utf8):
          return (1...4).contains(digits)
        case let unit where unit.elementsEqual("d".utf8): return (1...3).contains(digits)
        default: return false
        }
      }

      /// The JSON Schema of it.
      var schema: String {
        switch self {
        case .text(let most):
          #"{"type":"string","minLength":1,"maxLength":\#(most),"pattern":"^[^\\u0000-\\u001f\\u007f]+$"}"#
        case .integer(let range):
          #"{"type":"integer","minimum":\#(range.lowerBound),"maximum":\#(range.upperBound)}"#
        case .flag: #"{"type":"boolean"}"#
        case .word(let words): #"{"enum":[\#(words.map { "\"\($0)\"" }.joined(separator: ","))]}"#
        case .address: #"{"type":"string","anyOf":[{"format":"ipv4"},{"format":"ipv6"}]}"#
        case .decision: #"{"type":"string","pattern":"^(urn:sluice:decision:)?[0-9A-Fa-f]{32}$"}"#
        case .key: #"{"type":"string","pattern":"^(?!0+$)[0-9A-Za-z]{\#(KeyID.letterCount)}$"}"#
        case .duration: #"{"type":"string","pattern":"^([0-9]{1,8}(ms|s)|[0-9]{1,4}(m|h)|[0-9]{1,3}d)$"}"#
        case .moment: #"{"type":"string","format":"date-time"}"#
        }
      }
    }

    /// The name; in the path it stands there as `{name}`.
    public let name: String
    /// Whether it stands in the path; otherwise in the query, where it may be left out.
    public let isInPath: Bool
    /// What it may be.
    public let kind: Kind
    /// What it means, in half a sentence.
    public let meaning: String

    /// A parameter of these parts.
    public init(_ name: String, _ kind: Kind, isInPath: Bool = false, _ meaning: String) {
      self.name = name
      self.kind = kind
      self.isInPath = isInPath
      self.meaning = meaning
    }
  }

  /// The body that an operation reads.
  public struct Body: Sendable {
    /// The media types that it may have.
    public let contentTypes: [String]
    /// The name of a schema in ``OpenAPIDocument``.
    public let schema: String
    /// Whether there must be one.
    public let isRequired: Bool
    /// What it is, in half a sentence.
    public let meaning: String

    /// A body of these parts.
    public init(
      _ contentTypes: [String] = ["application/json"], schema: String, isRequired: Bool = true, _ meaning: String
    ) {
      self.contentTypes = contentTypes
      self.schema = schema
      self.isRequired = isRequired
      self.meaning = meaning
    }
  }

  /// Whether the path and query of `request` say what this operation can be told; what it does not know is ignored.
  func accepts(_ request: AdminRequest) -> Bool {
    parameters.allSatisfy { parameter in
      if parameter.isInPath { return request.parameters[parameter.name].map(parameter.kind.accepts) ?? true }
      return request.values(of: parameter.name).allSatisfy { $0.map(parameter.kind.accepts) ?? false }
    }
  }

  /// Whether `request` has the kind of body that this operation reads; before the body itself has arrived.
  func acceptsBody(of request: AdminRequest) -> Bool {
    guard let body, let type = request.fields["content-type"] else { return true }
    let bare = type.prefix { $0 != ";" }.lowercased().trimmingSuffix(while: { $0 == " " })
    return body.contentTypes.contains(String(bare))
  }
}

extension BidirectionalCollection {
  fileprivate func trimmingSuffix(while isTrimmed: (Element) -> Bool) -> SubSequence {
    var end = endIndex
    while end > startIndex, isTrimmed(self[index(before: end)]) { end = index(before: end) }
    return self[startIndex..<end]
  }
}

extension AdminRequest {
  /// The values of a query parameter, in their order; nil for one that is broken.
  fileprivate func values(of name: String) -> [String?] {
    query.split(separator: "&").compactMap { pair in
      let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard PercentText.decoded(parts[0]) == name else { return nil }
      guard parts.count == 2 else { return .some(nil) }
      return .some(PercentText.decoded(parts[1].replacing("+", with: " ")))
    }
  }

  /// The value of a query parameter, the first where there are several; nil where it is missing.
  func parameter(_ name: String) -> String? { values(of: name).first ?? nil }
}
