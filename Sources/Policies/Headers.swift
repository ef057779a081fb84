import Core
import HTTP
import Pipeline

/// Sets, adds and removes fields of the request that goes upstream and of the response that goes to the client.
///
/// Values may hold variables (`${consumer.id}`); one that comes out empty is not sent. What is set or added to responses is
/// on every response of the route that got as far as this policy; what is removed is removed from the upstream's. Fields
/// that frame or route messages are the gateway's own and cannot be named. There is nothing to fail open or closed.
public final class Headers: Policy, RequestHook, ResponseHook {
  /// The name in the configuration.
  public static let name = "headers"
  /// When it is settled that the request is sent on.
  public static let phase = Phase.shape
  /// What it does.
  public static let summary = "Sets, adds and removes fields of requests and responses."

  private let request: Changes
  private let response: Changes

  /// What is done to the fields of one direction.
  private struct Changes: Sendable {
    /// Fields that are dropped: the removed ones and those that are set.
    var dropped: [FieldSelector] = []
    /// Fields that are written: `Name: ` and the value.
    var written: [(name: [UInt8], start: [UInt8], value: FieldTemplate)] = []
  }

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    request = options.section("request", "Changes to the request that goes upstream.") { Self.read(&$0) }
    response = options.section("response", "Changes to the response that goes to the client.") { Self.read(&$0) }
  }

  private static func read(_ options: inout OptionReader) -> Changes {
    var changes = Changes()
    for name in options.valueList("remove", FieldSelector.format, "Fields to remove.", parse: { FieldSelector($0) }) {
      check(name, "remove", &options)
      changes.dropped.append(name)
    }
    let set = options.stringMap("set", "Fields that replace all of their name; values with ${variables}.")
    for (name, value) in set {
      if let field = read(name, value, "set", &options, &changes) { changes.dropped.append(field) }
    }
    let add = options.stringMap("add", "Fields to add to those of their name; values with ${variables}.")
    for (name, value) in add { _ = read(name, value, "add", &options, &changes) }
    return changes
  }

  private static func read(
    _ name: String, _ value: String, _ key: String, _ options: inout OptionReader, _ changes: inout Changes
  ) -> FieldSelector? {
    guard let field = FieldSelector(name) else {
      options.fail("\"\(name)\" is not a field name", at: key, fix: "write it like \"X-Client\"")
      return nil
    }
    check(field, key, &options)
    do throws(FieldTemplate.Fault) {
      let start = field.text + Array(": ".utf8)
      changes.written.append((field.lowercased, start, try FieldTemplate(value)))
    } catch {
      options.fail("\(name): \(error.message)", at: key, fix: error.fix)
    }
    return field
  }

  /// Refuses fields by which messages are framed and routed: to change them is to smuggle.
  private static func check(_ field: FieldSelector, _ key: String, _ options: inout OptionReader) {
    guard field.framesMessages else { return }
    if field.known == .host {
      options.fail("Host decides where a request goes", at: key, fix: "use the route's rewrite: { host: … }")
    } else {
      let name = String(decoding: field.text, as: UTF8.self)
      options.fail("\(name) is the gateway's own", at: key, fix: "remove it")
    }
  }

  /// Whether it tells the upstream who calls, or from where, in the gateway's place.
  public var speaksOfCallers: Bool { request.written.contains { IdentityFields.contains(RawSpan($0.name)) } }

  /// Changes the request, and writes what the response will get.
  public func onRequest(_ exchange: inout Exchange, _ head: RequestHead, _ services: Services) -> Verdict {
    // Before anything is dropped or written: a variable means the field as the client sent it.
    if !response.written.isEmpty { write(response, exchange.responseFields, &exchange, head, services) }
    if !request.written.isEmpty { write(request, exchange.requestFields, &exchange, head, services) }
    for field in request.dropped { field.dropAll(in: head) }
    return .next
  }

  /// Removes fields of the upstream's response.
  public func onResponse(_ exchange: inout Exchange, _ head: ResponseHead, _ services: Services) {
    for field in response.dropped { field.dropAll(in: head) }
  }

  private func write(
    _ changes: Changes, _ buffer: ByteBuffer, _ exchange: inout Exchange, _ head: RequestHead,
    _ services: Services
  ) {
    for field in changes.written {
      let before = buffer.count
      buffer.append(field.start)
      let start = buffer.count
      field.value.write(&exchange, head, services, into: buffer)
      if buffer.count == start { buffer.truncate(to: before) } else { buffer.append("\r\n") }
    }
  }
}
