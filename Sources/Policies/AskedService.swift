import Core
import Crypto
import HTTP
import Pipeline

/// A service that a policy asks: where it is, who vouches for it, and how long it may take.
struct AskedService: Sendable {
  /// Where it is; nil after an error.
  let url: FetchURL?

  private let authorities: String?
  private let timeoutNanoseconds: Int64

  /// The longest that it may take: less than a request may be kept waiting for.
  private static let longestTimeout = Duration.seconds(4)

  /// Reads the options `key`, `ca` and `timeout`.
  init(_ options: inout OptionReader, key: String, _ help: String, timeout: Duration) {
    let format = OptionFormat(
      "a URL with https://, or with http:// and a loopback address", example: "https://id.example.com/introspect")
    url = options.value(key, format, placeholder: FetchURL?.none, help) { FetchURL($0).map { .some($0) } }
    authorities = options.authorities(
      "PEM certificates of the authorities that vouch for it; by default those of the system.")
    timeoutNanoseconds =
      options.duration(
        "timeout", default: timeout, in: .milliseconds(10)...Self.longestTimeout,
        "How long it may take, from the connection to the last byte of its answer."
      ).wholeNanoseconds
  }

  /// What people call it, without its query.
  var name: String { String((url?.text ?? "").prefix { $0 != "?" }) }

  /// What is asked, once for all loops.
  func request(_ method: Method, fields: [FetchField], body: [UInt8] = []) -> FetchRequest? {
    url.map {
      FetchRequest(
        $0, method: method, fields: fields, body: body, authorities: authorities, timeoutNanoseconds: timeoutNanoseconds
      )
    }
  }

  /// The same in a form, by whoever is a client of the server.
  func request(_ parameters: [FormField], by client: TokenEndpointClient, _ world: any World) -> FetchRequest? {
    url.flatMap {
      client.request(
        parameters, at: $0, authorities: authorities, timeoutNanoseconds: timeoutNanoseconds, world)
    }
  }

  /// Whom questions go to, as a digest, with whatever is the same for all of them: what one flight of questions has in
  /// common also across configurations.
  func stamp(_ more: [String]) -> Digest {
    var bytes: [UInt8] = []
    for text in [url?.text ?? "", authorities ?? ""] + more { bytes.append(part: Array(text.utf8)) }
    return SHA256().digest(of: RawSpan(bytes))
  }
}

extension OptionReader {
  /// The option `ca`: certificates of authorities, which are looked at; nil where there are none.
  mutating func authorities(_ help: String) -> String? {
    guard let text = optionalText("ca", help), !isDescribing else { return nil }
    do throws(TLSFault) { _ = try TLSAuthorities(certificates: Array(text.utf8)) } catch {
      fail("these are no authorities: \(error.message)", at: "ca", fix: "write certificates in PEM form")
    }
    return text
  }
}

extension [UInt8] {
  /// Appends something behind its length, so that parts never run together.
  mutating func append(part: some Collection<UInt8>) {
    var count = UInt64(part.count)
    for _ in 0..<8 {
      append(UInt8(truncatingIfNeeded: count))
      count >>= 8
    }
    append(contentsOf: part)
  }
}
