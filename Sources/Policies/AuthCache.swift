import Core
import Crypto
import HTTP
import Pipeline

/// For how long answers of a service are used again, and for which requests.
struct AuthCache: Sendable {
  /// For how long, in nanoseconds.
  struct Lifetimes: Sendable {
    let allowed: Int64
    let refused: Int64
  }

  let lifetimes: Lifetimes
  private let parts: [Part]

  /// What requests have in common for which one answer holds.
  private enum Part: Sendable {
    case field(FieldSelector)
    case method, host, path, query, address

    init?(_ text: String) {
      switch text {
      case "method": self = .method
      case "host": self = .host
      case "path": self = .path
      case "query": self = .query
      case "ip": self = .address
      default:
        guard text.hasPrefix("header:"), let field = FieldSelector(String(text.dropFirst(7))) else { return nil }
        self = .field(field)
      }
    }

    var field: FieldSelector? { if case .field(let field) = self { field } else { nil } }
  }

  /// Reads the options; `fields` are those that the service is told.
  init(_ options: inout OptionReader, asking fields: [FieldSelector]) {
    let longest = Duration.seconds(3_600)
    let time = options.duration(
      "time", in: .milliseconds(100)...longest,
      "How long a request passes after one like it has; less where the service's Cache-Control says so.")
    let refusals = options.duration(
      "refusalTime", default: .seconds(2), in: .zero...longest, "How long one is refused after one like it was.")
    let named = options.valueList(
      "key", OptionFormat("a part of requests: header:NAME, method, host, path, query or ip", example: "path"),
      "What requests have in common for which one answer holds, beside who calls: header:NAME, method, host, path, query, ip. It "
        + "must have every field of requestHeaders. By default all that the service is told."
    ) { Part($0) }
    lifetimes = Lifetimes(allowed: time.wholeNanoseconds, refused: refusals.wholeNanoseconds)
    parts = named.isEmpty ? fields.map { .field($0) } + [.method, .host, .path, .query, .address] : named
    let missing = fields.filter { field in !parts.contains { $0.field?.lowercased == field.lowercased } }
    if let field = missing.first {
      options.fail(
        "answers would be mixed up of requests that differ in \"\(field.name)\", which the service is told", at: "key",
        fix: "add \"header:\(field.name)\", or remove it from requestHeaders")
    }
  }

  /// Stands for all requests for which one answer holds.
  func digest(_ exchange: borrowing Exchange, _ request: RequestHead, _ services: Services) -> Digest {
    var bytes: [UInt8] = [exchange.isSecure ? 1 : 0]
    Self.append(caller: exchange, services, to: &bytes)
    for part in parts {
      switch part {
      case .field(let field):
        let values = FieldLines.values(of: field, exchange, request)
        // How many there are: none is not an empty one.
        bytes.append(part: Array("\(field.name) \(values.count)".utf8))
        for value in values { bytes.append(part: value) }
      case .method:
        bytes.append(part: Array("method".utf8))
        bytes.append(part: request.bytes(request.methodText).array)
      case .host:
        bytes.append(part: Array("host".utf8))
        bytes.append(part: request.bytes(request.authority).array)
      case .path:
        bytes.append(part: Array("path".utf8))
        bytes.append(part: request.bytes(request.path).array)
      case .query:
        bytes.append(part: Array("query".utf8))
        bytes.append(part: AuthQuestion.query(exchange, request))
      case .address:
        bytes.append(part: Array("address".utf8))
        bytes.append(part: Array("\(exchange.client)".utf8))
      }
    }
    return services.hasher.digest(of: RawSpan(bytes))
  }

  /// Who calls, always: the service is told, and what it says of one is not said of another.
  private static func append(caller exchange: borrowing Exchange, _ services: Services, to bytes: inout [UInt8]) {
    let consumer = exchange.consumer >= 0 ? services.consumer(exchange.consumer).id : nil
    let identity = exchange.identity
    for name in [consumer, identity?.issuer, identity?.subject, identity?.client] {
      bytes.append(part: Array((name.map { "=\($0)" } ?? "").utf8))
    }
  }
}
