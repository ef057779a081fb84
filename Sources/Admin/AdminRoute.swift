import Core
import Gateway
import HTTP
import Pipeline

/// A request to the admin port, complete and allowed.
public struct AdminRequest: Sendable {
  /// The method; HEAD appears as GET.
  public var method: Method
  /// The path.
  public var path: String
  /// The query as sent, without the question mark.
  public var query: String
  /// What stands in the path where the operation's path has `{name}`, decoded, by name.
  public var parameters: [String: String] = [:]
  /// The fields by lower-case name; repeated ones joined with commas.
  public var fields: [String: String]
  /// The body.
  public var body: [UInt8]
  /// Who asks; nil where nobody needed to say.
  public var caller: AdminCaller?
  /// The name of the operation; nil where there is none, or the request was refused before that was clear.
  public internal(set) var operation: String?
  /// When it was complete.
  public var time: WallTime
  /// Its name, for problem documents and logs.
  public var decision: DecisionID
}

/// The answer to a request to the admin port.
public struct AdminResponse: Sendable {
  /// The HTTP status, 200 to 599.
  public var status: Int
  /// The media type of the body.
  public var contentType: String
  /// The body.
  public var body: [UInt8]
  /// Further fields; those about the message itself are added by the server.
  public var fields: [(name: String, value: String)] = []
  /// What was changed, for the audit log; nil where nothing was.
  public var change: AdminChange?
  /// The code of a problem document.
  public var problemCode: String?

  /// An answer of these parts.
  public init(status: Int = 200, contentType: String, body: [UInt8]) {
    self.status = status
    self.contentType = contentType
    self.body = body
  }

  /// A text.
  public static func text(_ text: String) -> AdminResponse {
    AdminResponse(contentType: "text/plain; charset=utf-8", body: Array(text.utf8))
  }

  /// A JSON document.
  public static func json(_ write: (inout JSONWriter) -> Void) -> AdminResponse {
    var writer = JSONWriter(ByteBuffer())
    write(&writer)
    writer.buffer.append("\n")
    return AdminResponse(contentType: "application/json", body: writer.buffer.array)
  }

  /// A problem document with words of its own, and more members.
  static func problem(
    _ problem: Problem, _ decision: DecisionID, detail: String, _ more: (inout JSONWriter) -> Void = { _ in }
  ) -> AdminResponse {
    var response = json { json in
      json.beginObject()
      json.key("type")
      json.string("urn:sluice:problem:\(problem.code)")
      json.key("title")
      json.string("\(problem.title)")
      json.key("status")
      json.integer(Int64(problem.status))
      json.key("detail")
      json.string(detail)
      json.key("instance")
      json.string("urn:sluice:decision:\(decision.text)")
      more(&json)
      json.endObject()
    }
    (response.status, response.contentType) = (Int(problem.status), "application/problem+json")
    response.problemCode = "\(problem.code)"
    return response
  }

  /// A problem document (RFC 9457).
  public static func problem(_ problem: Problem, _ decision: DecisionID) -> AdminResponse {
    let buffer = ByteBuffer()
    problem.write(decision, into: buffer)
    var response = AdminResponse(
      status: Int(problem.status), contentType: "application/problem+json", body: buffer.array)
    response.problemCode = "\(problem.code)"
    return response
  }
}

/// One operation of the admin API: the table of these is the router, and the source of `/openapi.json`.
public struct AdminRoute: Sendable {
  /// What an operation may answer, besides what every operation may.
  public struct Outcome: Sendable {
    /// The HTTP status.
    public let status: Int
    /// When that is.
    public let meaning: String
    /// The media type.
    public let contentType: String
    /// The name of a schema in ``OpenAPIDocument``; nil for plain text.
    public let schema: String?

    /// An outcome of these parts.
    public init(_ status: Int, _ meaning: String, _ contentType: String, schema: String? = nil) {
      self.status = status
      self.meaning = meaning
      self.contentType = contentType
      self.schema = schema
    }
  }

  /// How an operation is done; on the admin thread, which it must not block.
  public enum Handler: Sendable {
    /// At once.
    case now(@Sendable (AdminRequest) -> AdminResponse)
    /// Elsewhere: the answer is given to the reply, from any thread. What takes longer than ``AdminServer/Limit/answerTime``
    /// is answered with 504.
    case later(@Sendable (AdminRequest, AdminReply) -> Void)
  }

  /// The method; GET serves HEAD too.
  public let method: Method
  /// The path: matched exactly, but for segments `{name}`, which take any one segment.
  public let path: String
  /// What path and query can say.
  public let parameters: [Parameter]
  /// What it reads; nil where it reads nothing.
  public let body: Body?
  /// The least role; nil where everybody who can connect may ask.
  public let role: AdminSettings.Role?
  /// Whether callers who belong to a tenant may ask too: it then sees to it by itself that they get nothing else.
  public let isForTenants: Bool
  /// The name of the operation in `/openapi.json`.
  public let operation: String
  /// What it does, in one sentence.
  public let summary: String
  /// What it may answer.
  public let outcomes: [Outcome]
  /// Does it.
  public let handler: Handler

  /// An operation that is answered at once; `handle` is called on the admin thread and must not block.
  public init(
    _ method: Method, _ path: String, role: AdminSettings.Role?, isForTenants: Bool = false, operation: String,
    summary: String,
    parameters: [Parameter] = [], body: Body? = nil, outcomes: [Outcome],
    handle: @escaping @Sendable (AdminRequest) -> AdminResponse
  ) {
    self.init(
      method, path, role: role, isForTenants: isForTenants, operation: operation, summary: summary,
      parameters: parameters, body: body, outcomes: outcomes, handler: .now(handle))
  }

  /// An operation of these parts.
  public init(
    _ method: Method, _ path: String, role: AdminSettings.Role?, isForTenants: Bool = false, operation: String,
    summary: String,
    parameters: [Parameter] = [], body: Body? = nil, outcomes: [Outcome], handler: Handler
  ) {
    self.method = method
    self.path = path
    self.role = role
    self.isForTenants = isForTenants
    self.operation = operation
    self.summary = summary
    self.parameters = parameters
    self.body = body
    self.outcomes = outcomes
    self.handler = handler
  }

  /// What `path` says in this route's place; nil where it is not this route's path.
  func match(_ path: String) -> [String: String]? {
    if path == self.path { return [:] }
    guard parameters.contains(where: \.isInPath) else { return nil }
    let wanted = self.path.split(separator: "/", omittingEmptySubsequences: false)
    let given = path.split(separator: "/", omittingEmptySubsequences: false)
    guard wanted.count == given.count else { return nil }
    var found: [String: String] = [:]
    for (wanted, given) in zip(wanted, given) where wanted != given {
      guard wanted.hasPrefix("{"), !given.isEmpty, let text = PercentText.decoded(given) else { return nil }
      found[String(wanted.dropFirst().dropLast())] = text
    }
    return found
  }
}

/// The answer that an operation owes to one request.
public struct AdminReply: Sendable {
  let send: @Sendable (AdminResponse) -> Void

  /// Answers; only the first answer counts, and none that comes too late.
  public func callAsFunction(_ response: AdminResponse) { send(response) }
}

/// The operations of the admin API by path and method.
struct AdminRouter: Sendable {
  enum Finding {
    case found(AdminRoute, parameters: [String: String])
    /// The path exists; the methods that it has.
    case otherMethods([String])
    case nothing
  }

  let routes: [AdminRoute]

  init(_ routes: [AdminRoute]) { self.routes = routes }

  func find(_ method: Method, _ path: String) -> Finding {
    let here = routes.compactMap { route in route.match(path).map { (route: route, parameters: $0) } }
    if here.isEmpty { return .nothing }
    let wanted = method == .head ? Method.get : method
    if let (route, parameters) = here.first(where: { $0.route.method == wanted }) {
      return .found(route, parameters: parameters)
    }
    return .otherMethods(
      here.map(\.route).flatMap { $0.method == .get ? ["GET", "HEAD"] : ["\($0.method)".uppercased()] })
  }
}
