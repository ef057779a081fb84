import Core
import HTTP
import Pipeline

/// Answers by itself, always the same: for health checks, maintenance, robots.txt and what has been switched off.
public final class Respond: Policy, RequestHook {
  /// The name in the configuration.
  public static let name = "respond"
  /// After all others had their say.
  public static let phase = Phase.shape
  /// What it does.
  public static let summary = "Answers with a fixed response instead of asking the upstream."

  private let status: UInt16
  /// The field lines of the answer.
  private let fields: [UInt8]
  private let body: [UInt8]

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    let status = options.integer("status", in: 200...599, default: 200, "The status.")
    let type = options.string(
      "contentType", default: "text/plain; charset=utf-8", "The media type of the body.")
    let body = options.optionalText("body", "The body; none: an empty one.") ?? ""
    var fields: [UInt8] = []
    for (name, value) in options.stringMap("headers", "Further fields.") {
      if let field = FieldSelector(name) {
        switch field.known {
        case .connection, .contentLength, .transferEncoding, .trailer, .upgrade, .keepAlive, .contentType:
          options.fail("\(name) is set by the gateway", at: "headers", fix: "remove it")
        default: fields += Array("\(name): \(value)\r\n".utf8)
        }
      } else {
        options.fail("\"\(name)\" is not a field name", at: "headers", fix: "write it like \"Cache-Control\"")
      }
    }
    if !body.isEmpty && [204, 205, 304].contains(status) {
      options.fail("a response of status \(status) has no body", at: "body", fix: "remove it, or use another status")
    }
    if !body.isEmpty { fields += Array("Content-Type: \(type)\r\n".utf8) }
    self.status = UInt16(status)
    self.fields = fields
    self.body = Array(body.utf8)
  }

  /// Answers.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    exchange.replyStatus = status
    if !fields.isEmpty { exchange.responseFields.append(fields) }
    if !body.isEmpty { exchange.replyBody.append(body) }
    return .reply
  }
}
