import Core
import Pipeline
import Testing

@Suite("ProviderDocument")
struct ProviderDocumentTests {
  private static let source = KeySource.discovery(of: "https://id.example")
  private static let text = """
    {"issuer":"https://id.example","authorization_endpoint":"https://id.example/a?x=y","token_endpoint":"https://id.example/t",\
    "end_session_endpoint":null,"pushed_authorization_request_endpoint":"https://id.example/p"}
    """

  private func read(_ text: String, isSecure: Bool = true) throws(IssuerDocument.Fault) -> ProviderDocument {
    try ProviderDocument(Array(text.utf8), of: Self.source, isSecure: isSecure)
  }

  @Test(
    "A document of another issuer, without what is needed, or that leads out of TLS is refused",
    arguments: [
      "", "[]", "{}", text.replacing("\"issuer\":\"https://id.example\"", with: "\"issuer\":\"https://id.example/\""),
      text.replacing("token_endpoint", with: "x"), text.replacing("authorization_endpoint", with: "x"),
      text.replacing("https://id.example/t", with: "http://127.0.0.1/t"),
      text.replacing("https://id.example/p", with: "http://127.0.0.1/p"),
      text.replacing("https://id.example/a", with: "javascript:a"), text.replacing("null", with: "7"),
    ])
  func refuses(text: String) { #expect(throws: IssuerDocument.Fault.self) { try read(text) } }

  @Test("A document says where the parts are, and what the provider insists on")
  func reads() throws {
    let document = try read(Self.text)
    #expect(document.authorization.text == "https://id.example/a?x=y" && document.token.text == "https://id.example/t")
    #expect(document.push?.text == "https://id.example/p" && document.endSession == nil)
    #expect(!document.requiresPush && !document.namesIssuer)
    let more = Self.text.dropLast() + ",\"authorization_response_iss_parameter_supported\":true}"
    #expect(try read(String(more)).namesIssuer)
    #expect(
      try read(Self.text.replacing("https://id.example/t", with: "http://127.0.0.1/t"), isSecure: false).token.port
        == 80)
  }

  @Test("A provider is asked once in an hour, and soon again where it has not answered; what was known stays")
  func book() throws {
    var (book, now) = (ProviderBook(), Instant(nanoseconds: 0))
    let good = FetchOutcome.answered(status: 200, fields: [], body: Array(Self.text.utf8))
    func pass(_ seconds: Int64) { now = now.advanced(byNanoseconds: seconds * 1_000_000_000) }
    #expect(book.find(Self.source, now: now) == .missing)
    book.take(.failed("it is down"), of: Self.source, now: now)
    #expect(book.find(Self.source, now: now) == .unavailable)
    pass(5)
    #expect(book.find(Self.source, now: now) == .missing)
    book.take(good, of: Self.source, now: now)
    pass(3_599)
    #expect(book.find(Self.source, now: now) == .known(try read(Self.text)))
    pass(1)
    #expect(book.find(Self.source, now: now) == .missing)
    book.take(.answered(status: 200, fields: [], body: []), of: Self.source, now: now)
    #expect(book.find(Self.source, now: now) == .known(try read(Self.text)))
    pass(60)
    #expect(book.find(Self.source, now: now) == .missing)
  }
}
