import Core
import Gateway
import HTTP
import Pipeline

/// Decides who may ask what, before anything of a body is read.
struct AdminGate {
  enum Judgement {
    case pass(AdminRoute)
    case refuse(AdminResponse)
  }

  let router: AdminRouter
  let access: AdminAccess

  /// Without a token, a stranger learns nothing but the paths that are open to everybody: not even which others exist.
  func judge(_ head: RequestHead, _ request: inout AdminRequest) -> Judgement {
    let decision = request.decision
    guard access.isMeant(head) else { return .refuse(.problem(AdminProblem.misdirected, decision)) }
    let finding = router.find(head.method, request.path)
    if case .found(let route, _) = finding, route.role == nil { return .pass(route) }
    switch access.verdict(head) {
    case .missing: return .refuse(challenge(AdminProblem.tokenMissing, decision, error: nil))
    case .invalid: return .refuse(challenge(AdminProblem.tokenInvalid, decision, error: "invalid_token"))
    case .known(let caller): request.caller = caller
    }
    switch finding {
    case .nothing: return .refuse(.problem(AdminProblem.notFound, decision))
    case .otherMethods(let methods):
      var response = AdminResponse.problem(ProblemCatalogue.methodNotAllowed, decision)
      response.fields.append((name: "Allow", value: methods.joined(separator: ", ")))
      return .refuse(response)
    case .found(let route, let parameters):
      request.parameters = parameters
      request.operation = route.operation
      if let needed = route.role, let caller = request.caller, caller.role < needed {
        return .refuse(challenge(AdminProblem.roleTooLow, decision, error: "insufficient_scope"))
      }
      if let tenant = request.caller?.tenant {
        guard route.isForTenants else {
          return .refuse(challenge(AdminProblem.notForTenants, decision, error: "insufficient_scope"))
        }
        // The same answer whether there is another one of that name or not.
        if let named = parameters["tenant"], named != tenant {
          return .refuse(.problem(AdminProblem.tenantUnknown, decision))
        }
      }
      guard route.accepts(request) else { return .refuse(.problem(AdminProblem.malformedParameter, decision)) }
      guard route.acceptsBody(of: request) else { return .refuse(.problem(AdminProblem.otherMediaType, decision)) }
      return .pass(route)
    }
  }

  /// A refusal that says what credentials are wanted (RFC 6750 section 3).
  private func challenge(_ problem: Problem, _ decision: DecisionID, error: String?) -> AdminResponse {
    var response = AdminResponse.problem(problem, decision)
    let detail = error.map { ", error=\"\($0)\"" } ?? ""
    response.fields.append((name: "WWW-Authenticate", value: "Bearer realm=\"sluice\"" + detail))
    return response
  }
}

extension AdminRequest {
  /// The request of a head, without its body.
  init(_ head: RequestHead, time: WallTime, decision: DecisionID) {
    var fields: [String: String] = [:]
    for index in 0..<head.fieldCount {
      let name = String(decoding: head.name(of: index)).lowercased()
      let value = String(decoding: head.value(of: index))
      fields[name] = fields[name].map { "\($0), \(value)" } ?? value
    }
    method = head.method == .head ? .get : head.method
    path = String(decoding: head.bytes(head.path))
    query = String(decoding: head.bytes(head.query))
    self.fields = fields
    body = []
    caller = nil
    self.time = time
    self.decision = decision
  }
}

extension AdminResponse {
  /// Appends the message as HTTP/1.1 sends it.
  func write(to buffer: ByteBuffer, time: WallTime, withBody: Bool, closes: Bool) {
    buffer.append(utf8: "HTTP/1.1 \(status) \(Self.reason(status))\r\n")
    buffer.append(utf8: "Date: \(CivilDate(time).fieldValue)\r\n")
    buffer.append(utf8: "Content-Type: \(contentType)\r\nContent-Length: \(body.count)\r\n")
    // Nothing here may be kept by a cache or taken for a page.
    buffer.append("Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n")
    for field in fields { buffer.append(utf8: "\(field.name): \(field.value)\r\n") }
    buffer.append(closes ? "Connection: close\r\n\r\n" : "\r\n")
    if withBody { buffer.append(body) }
  }

  private static func reason(_ status: Int) -> String {
    switch status {
    case 200: "OK"
    case 201: "Created"
    case 202: "Accepted"
    case 400: "Bad Request"
    case 401: "Unauthorized"
    case 403: "Forbidden"
    case 404: "Not Found"
    case 405: "Method Not Allowed"
    case 408: "Request Timeout"
    case 409: "Conflict"
    case 412: "Precondition Failed"
    case 413: "Content Too Large"
    case 415: "Unsupported Media Type"
    case 422: "Unprocessable Content"
    case 503: "Service Unavailable"
    // The phrase means nothing to a machine (RFC 9112 section 4) and may be empty.
    default: ""
    }
  }
}
