// What is signed of a request (RFC 9421 section 2.5): a line for each component, made anew from the request as it came. If
// anything in it cannot be made exactly, there is no base, and with it no good signature.

import Core
import HTTP
import Pipeline

/// Makes signature bases of one request.
struct SignatureBase {
  /// Bytes that a base has at most.
  private static let longest = 131_072
  /// Fields whose structure is known here, for `sf` (RFC 9530, RFC 9218, RFC 9421): all of them dictionaries.
  private static let dictionaries: Set<String> = [
    "content-digest", "repr-digest", "want-content-digest", "want-repr-digest", "signature", "signature-input",
    "priority",
  ]

  let request: RequestHead
  /// The scheme of the target, https or http.
  let scheme: String

  /// What `input` says was signed; nil where the request lacks something of it, or has it in no form that can be signed.
  func text(of input: SignatureInput) -> [UInt8]? {
    var text: [UInt8] = []
    for (item, component) in zip(input.covered.items, input.components) {
      guard let value = value(of: component), text.count + value.count < Self.longest else { return nil }
      // Only ASCII is signed as it is; other bytes would have to come with `bs`. A line end would begin another line.
      guard value.allSatisfy({ $0 >= 0x20 && $0 < 0x7f || $0 == 9 }) else { return nil }
      text += item.text
      text += Array(": ".utf8)
      text += value
      text.append(10)
    }
    text += Array("\"@signature-params\": ".utf8)
    return text + input.covered.text
  }

  private func value(of component: SignatureComponent) -> [UInt8]? {
    guard let derived = component.derived else { return field(component) }
    switch derived {
    case .method: return request.bytes(request.methodText).array
    case .authority: return authority
    case .scheme: return Array(scheme.utf8)
    case .requestTarget: return request.bytes(request.target).array
    case .path: return path
    case .query: return query.isEmpty ? [UInt8(ascii: "?")] : query
    case .target:
      guard let authority, let path else { return nil }
      return Array("\(scheme)://".utf8) + authority + path + query
    case .queryParameter:
      guard case .parameter(let name) = component.form else { return nil }
      return QueryText.value(of: Array(name.utf8), in: request.bytes(request.query).array)
    }
  }

  // MARK: The target

  /// Host and port as RFC 9421 section 2.2.3 wants them: in lower case, without the port that the scheme implies.
  private var authority: [UInt8]? {
    let host = request.bytes(request.host).array.map { $0 >= 65 && $0 <= 90 ? $0 | 32 : $0 }
    if host.isEmpty { return nil }
    let implied: UInt16 = scheme == "https" ? 443 : 80
    return request.port == 0 || request.port == implied ? host : host + Array(":\(request.port)".utf8)
  }

  /// `*` stands for no path.
  private var path: [UInt8]? {
    let path = request.bytes(request.path).array
    return path.first == UInt8(ascii: "/") ? path : nil
  }

  /// The query with its question mark; empty where there is none.
  private var query: [UInt8] {
    guard request.hasQuery else { return [] }
    return [UInt8(ascii: "?")] + request.bytes(request.query).array
  }

  // MARK: Fields

  private func field(_ component: SignatureComponent) -> [UInt8]? {
    let lines = request.lines(named: component.name)
    guard !lines.isEmpty, !request.namesInConnection(component.name) else { return nil }
    let separator = Array(", ".utf8)
    switch component.form {
    case .plain: return Array(lines.joined(separator: separator))
    case .bytes: return Array(lines.map { StructuredValue.bytes($0).text }.joined(separator: separator))
    case .structured:
      guard Self.dictionaries.contains(component.name) else { return nil }
      return dictionary(lines)?.text
    case .member(let key): return dictionary(lines)?[key]?.text
    case .parameter: return nil
    }
  }

  private func dictionary(_ lines: [[UInt8]]) -> StructuredDictionary? {
    let text = Array(lines.joined(separator: Array(", ".utf8)))
    return try? StructuredField.unambiguousDictionary(text, limits: .signed)
  }
}

extension RequestHead {
  /// The values of all fields of a name, given in lower case, as they came, whatever is passed on of them.
  func lines(named name: String) -> [[UInt8]] {
    let name = Array(name.utf8)
    var lines: [[UInt8]] = []
    for index in 0..<fieldCount where self.name(of: index).equals(lowercase: RawSpan(name)) {
      lines.append(value(of: index).array)
    }
    return lines
  }

  /// Whether Connection names this field: then it is for this hop only, and whoever stands between could take it away from
  /// the upstream without the signature showing it.
  fileprivate func namesInConnection(_ name: String) -> Bool {
    let name = Array(name.utf8)
    var next = firstIndex(of: .connection)
    while let index = next {
      next = nextIndex(of: .connection, after: index)
      let value = value(of: index)
      var list = ListReader(value)
      while let range = list.next() {
        if value.extracting(range).equals(lowercase: RawSpan(name)) { return true }
      }
    }
    return false
  }
}

/// Names and values as forms write them (RFC 9421 section 2.2.8).
enum QueryText {
  /// The value of the parameter of this name, both as they are signed; nil where there is none, more than one, or what
  /// is no text.
  static func value(of name: [UInt8], in query: [UInt8]) -> [UInt8]? {
    var found: [UInt8]?
    for pair in query.split(separator: UInt8(ascii: "&")) {
      let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
      guard let key = encoded(parts[0]) else { return nil }
      guard key == name else { continue }
      guard found == nil, let value = encoded(parts.count > 1 ? parts[1] : []) else { return nil }
      found = value
    }
    return found
  }

  /// What `text` means, written the one way in which it is signed; nil for bytes that are no UTF-8.
  private static func encoded(_ text: ArraySlice<UInt8>) -> [UInt8]? {
    let bytes = decoded(text)
    guard String(validating: bytes, as: UTF8.self) != nil else { return nil }
    let digits = Array("0123456789ABCDEF".utf8)
    var result: [UInt8] = []
    for byte in bytes {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "*"), UInt8(ascii: "-"), UInt8(ascii: "."),
        UInt8(ascii: "_"):
        result.append(byte)
      default: result += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      }
    }
    return result
  }

  private static func decoded(_ text: ArraySlice<UInt8>) -> [UInt8] {
    let text = Array(text)
    var bytes: [UInt8] = []
    var index = 0
    while index < text.count {
      if text[index] == UInt8(ascii: "%"), index + 2 < text.count, let high = HexadecimalDigit.value(text[index + 1]),
        let low = HexadecimalDigit.value(text[index + 2])
      {
        bytes.append(high << 4 | low)
        index += 3
      } else {
        bytes.append(text[index] == UInt8(ascii: "+") ? 32 : text[index])
        index += 1
      }
    }
    return bytes
  }
}
