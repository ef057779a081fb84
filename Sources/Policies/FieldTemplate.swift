import Core
import HTTP
import Pipeline

/// A field value with variables: `${consumer.id} by ${client.ip}`.
///
/// Values of variables come from clients. Control characters in them are left out, so that no value can end its line; the
/// literal parts have been checked by the option reader. `$${` stands for `${`.
struct FieldTemplate: Sendable {
  /// The variables without a name of their own.
  enum Variable: String, CaseIterable, Sendable {
    case clientAddress = "client.ip"
    case peerAddress = "peer.ip"
    case consumer = "consumer.id"
    case tenant = "consumer.tenant"
    case groups = "consumer.groups"
    case key = "key.id"
    case request = "request.id"
    case trace = "trace.id"
    case route = "route.id"
    case method = "request.method"
    case path = "request.path"
    case host = "request.host"
    case scheme = "request.scheme"
  }

  private enum Part: Sendable {
    case literal([UInt8])
    case variable(Variable)
    case field(FieldSelector)
    case claim(ClaimPath)
  }

  private var parts: [Part] = []

  /// Why a text is no template.
  struct Fault: Error {
    let message: String
    let fix: String
  }

  init(_ text: String) throws(Fault) {
    var rest = Substring(text)
    var literal = ""
    while let dollar = rest.firstIndex(of: "$") {
      literal += rest[..<dollar]
      rest = rest[dollar...]
      if rest.hasPrefix("$${") {
        literal += "${"
        rest = rest.dropFirst(3)
      } else if rest.hasPrefix("${") {
        guard let end = rest.firstIndex(of: "}") else {
          throw Fault(message: "\"${\" is not closed", fix: "add \"}\", or write \"$${\" for the characters themselves")
        }
        if !literal.isEmpty { parts.append(.literal(Array(literal.utf8))) }
        literal = ""
        parts.append(try Self.part(String(rest[rest.index(rest.startIndex, offsetBy: 2)..<end])))
        rest = rest[rest.index(after: end)...]
      } else {
        literal += "$"
        rest = rest.dropFirst()
      }
    }
    literal += rest
    if !literal.isEmpty { parts.append(.literal(Array(literal.utf8))) }
  }

  private static func part(_ name: String) throws(Fault) -> Part {
    if name.hasPrefix("header.") {
      guard let field = FieldSelector(String(name.dropFirst(7))) else {
        throw Fault(message: "\"\(name)\" names no field", fix: "write it like ${header.User-Agent}")
      }
      return .field(field)
    }
    if name.hasPrefix("claim.") {
      guard let claim = ClaimPath(String(name.dropFirst(6))) else {
        throw Fault(message: "\"\(name)\" names no claim", fix: "write it like ${claim.sub}")
      }
      return .claim(claim)
    }
    guard let variable = Variable(rawValue: name) else {
      let names = Variable.allCases.map(\.rawValue) + ["header.NAME", "claim.NAME"]
      let list = names.joined(separator: ", ")
      throw Fault(
        message: "there is no variable \"\(name)\"",
        fix: Suggestion.fix(name, among: names, otherwise: "possible are \(list)"))
    }
    return .variable(variable)
  }

  /// Appends the value for a request. `exchange` is only read: passed otherwise it would be copied.
  func write(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services, into buffer: ByteBuffer) {
    for part in parts {
      switch part {
      case .literal(let bytes): buffer.append(bytes)
      case .variable(let variable): Self.write(variable, &exchange, request, services, into: buffer)
      case .field(let field):
        if let index = field.firstIndex(in: request) { buffer.append(safe: request.value(of: index)) }
      case .claim(let claim):
        if let text = exchange.identity.flatMap({ claim.text(in: $0) }) { buffer.append(safe: text) }
      }
    }
  }

  private static func write(
    _ variable: Variable, _ exchange: inout Exchange, _ request: RequestHead, _ services: Services,
    into buffer: ByteBuffer
  ) {
    switch variable {
    case .clientAddress: exchange.client.append(to: buffer)
    case .peerAddress: exchange.peer.append(to: buffer)
    case .request: exchange.decision.write(into: buffer)
    case .trace:
      buffer.append(hexadecimal: exchange.trace.traceHigh, minimumDigits: 16)
      buffer.append(hexadecimal: exchange.trace.traceLow, minimumDigits: 16)
    case .route: buffer.append(services.routes[exchange.route])
    case .method: buffer.append(safe: request.bytes(request.methodText))
    case .path: buffer.append(safe: request.bytes(request.path))
    case .host: buffer.append(safe: request.bytes(request.host))
    case .scheme: buffer.append(exchange.isSecure ? "https" : "http")
    case .consumer, .tenant, .groups, .key:
      guard exchange.consumer >= 0 else { return }
      let consumer = services.consumer(exchange.consumer)
      switch variable {
      case .consumer: buffer.append(safe: consumer.id)
      case .tenant: buffer.append(safe: consumer.tenant ?? "")
      case .groups: buffer.append(safe: consumer.groups.joined(separator: ","))
      default:
        let key = services.keyName(exchange.key, of: exchange.consumer, issued: exchange.issuedKey)
        if let key { buffer.append(safe: key) }
      }
    }
  }
}

extension ByteBuffer {
  /// Appends a field line. Control characters of `value` are left out: they could end the line and begin another.
  func appendField(_ name: StaticString, safe value: String) {
    append(name)
    append(": ")
    append(safe: value)
    append("\r\n")
  }

  /// Appends a text without control characters.
  func append(safe text: String) {
    for byte in text.utf8 where byte >= 32 && byte != 127 { append(byte) }
  }

  /// Appends `bytes` without control characters, which could end a field line and begin another.
  func append(safe bytes: RawSpan) {
    for offset in 0..<bytes.byteCount {
      let byte = bytes[byte: offset]
      if byte >= 32 && byte != 127 || byte == 9 { append(byte) }
    }
  }
}
