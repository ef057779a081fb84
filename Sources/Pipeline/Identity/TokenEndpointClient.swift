import Core
import Crypto

/// Asks token endpoints for tokens as one client, and shows them that it is this client (RFC 6749 section 2.3). Immutable.
public struct TokenEndpointClient: Sendable {
  /// For how many seconds an assertion of the client is good: it is used at once.
  public static let assertionSeconds: Int64 = 60

  /// How a client shows who it is.
  public enum Proof: Sendable {
    /// Not at all: it is a public one, and says its name only.
    case none
    /// By its secret in `Authorization: Basic`; name and secret are form-encoded before (RFC 6749 section 2.3.1).
    case basic(secret: String)
    /// By its secret in the body.
    case post(secret: String)
    /// By a token that it signs (RFC 7523 section 2.2) for `audience`; nil stands for the URL of the endpoint.
    case privateKey(TokenSigner, audience: String?)
  }

  /// What the server calls the client.
  public let clientID: String
  private let proof: Proof

  /// A client.
  public init(clientID: String, proof: Proof) { (self.clientID, self.proof) = (clientID, proof) }

  /// The request for a token: `parameters`, `grant_type` among them, in this order, and behind them what shows who asks.
  ///
  /// Nil where it would be longer than a fetch may be, or an assertion cannot be signed. Costs a signature with
  /// ``Proof/privateKey(_:audience:)``, see ``TokenSigner/sign(_:type:)``.
  public func request(
    _ parameters: [FormField], at url: FetchURL, authorities: String? = nil,
    timeoutNanoseconds: Int64 = FetchRequest.defaultTimeout, _ world: any World
  ) -> FetchRequest? {
    var parameters = parameters
    var fields = [FetchField("Content-Type", FormText.contentType), FetchField("Accept", "application/json")]
    switch proof {
    case .none: parameters.append(FormField("client_id", clientID))
    case .basic(let secret):
      // A space as %20, which is the same in a form, and is read by servers too that take no `+` for one.
      let pair = [clientID, secret].map { FormText.encoded($0).replacing("+", with: "%20") }.joined(separator: ":")
      fields.append(FetchField("Authorization", "Basic \(Base64.encode(Array(pair.utf8)))"))
    case .post(let secret): parameters += [FormField("client_id", clientID), FormField("client_secret", secret)]
    case .privateKey(let signer, let audience):
      guard let assertion = assertion(signer, audience ?? url.text, world) else { return nil }
      parameters += [
        // RFC 7521 section 4.2 lets it be left out; some servers do not.
        FormField("client_id", clientID),
        FormField("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        FormField("client_assertion", assertion),
      ]
    }
    let request = FetchRequest(
      url, method: .post, fields: fields, body: FormText.body(parameters), authorities: authorities,
      timeoutNanoseconds: timeoutNanoseconds)
    return request.message == nil ? nil : request
  }

  /// RFC 7523 section 3.
  private func assertion(_ signer: TokenSigner, _ audience: String, _ world: any World) -> String? {
    let now = world.wallTime.seconds
    let (buffer, number) = (ByteBuffer(capacity: 512), ByteBuffer(capacity: 32))
    number.append(hexadecimal: world.random(), world.random())
    var writer = JSONWriter(buffer)
    writer.beginObject()
    writer.key("iss")
    writer.string(clientID)
    writer.key("sub")
    writer.string(clientID)
    writer.key("aud")
    writer.string(audience)
    writer.key("iat")
    writer.integer(now)
    writer.key("exp")
    writer.integer(now + Self.assertionSeconds)
    writer.key("jti")
    writer.string(number.bytes)
    writer.endObject()
    guard let token = try? signer.sign(buffer.bytes) else { return nil }
    return String(decoding: token, as: UTF8.self)
  }
}
