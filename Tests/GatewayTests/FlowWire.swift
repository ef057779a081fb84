// An independent reading of HTTP/1.1 for the tests of the flow: strict, simple, and no relative of the room HTTP.

/// A message as it came over the wire.
struct WireMessage: Equatable {
  /// The request line or status line.
  var line = ""
  /// Values by field name in lower case, in their order.
  var fields: [String: [String]] = [:]
  var body: [UInt8] = []
  var trailers: [String: [String]] = [:]
  var isChunked = false

  var status: Int { Int(line.split(separator: " ").dropFirst().first ?? "") ?? 0 }
  var method: String { String(line.split(separator: " ").first ?? "") }
  var target: String { String(line.split(separator: " ").dropFirst().first ?? "") }
  var text: String { String(decoding: body, as: UTF8.self) }

  /// The only value of a field; several are joined.
  subscript(name: String) -> String? { fields[name]?.joined(separator: ", ") }
}

/// Reads the messages of one stream as its bytes come.
final class WireReader {
  private enum State {
    case head
    case length(Int)
    case chunkSize
    case chunk(Int)
    case chunkEnd
    case trailers
    case untilEnd
    case tunnel
  }

  private let isResponse: Bool
  private var state = State.head
  private var current = WireMessage()
  private var line: [UInt8] = []
  /// The methods of requests whose responses are still to come; GET where there is none.
  var methods: [String] = []
  /// Whether what follows a request with Upgrade belongs to another protocol.
  var becomesTunnel = false
  /// Complete messages; interim responses are apart.
  private(set) var messages: [WireMessage] = []
  private(set) var interim: [WireMessage] = []
  /// What came after a 101, or after a request that became a tunnel.
  private(set) var tunnel: [UInt8] = []
  /// What cannot be HTTP.
  private(set) var fault: String?
  /// The stream ended inside a message.
  private(set) var isTruncated = false

  init(isResponse: Bool) { self.isResponse = isResponse }

  /// Whether part of a message has come.
  var isInside: Bool {
    if case .head = state { return !line.isEmpty || !current.line.isEmpty }
    if case .tunnel = state { return false }
    return true
  }

  /// The message under way, once its head is complete.
  var partial: WireMessage? {
    switch state {
    case .head, .tunnel: nil
    default: current
    }
  }

  func read(_ bytes: [UInt8]) {
    var index = 0
    while index < bytes.count, fault == nil {
      switch state {
      case .head, .chunkSize, .chunkEnd, .trailers:
        let byte = bytes[index]
        index += 1
        if byte == 10 { endLine() } else { line.append(byte) }
      case .length(let rest): index = takeBody(bytes, index, rest, isChunk: false)
      case .chunk(let rest): index = takeBody(bytes, index, rest, isChunk: true)
      case .untilEnd:
        current.body += bytes[index...]
        index = bytes.count
      case .tunnel:
        tunnel += bytes[index...]
        index = bytes.count
      }
    }
  }

  /// The stream has ended, or was torn down.
  func end(torn: Bool) {
    if case .untilEnd = state, !torn { return complete() }
    if isInside { isTruncated = true }
  }

  private func takeBody(_ bytes: [UInt8], _ index: Int, _ rest: Int, isChunk: Bool) -> Int {
    let count = min(rest, bytes.count - index)
    current.body += bytes[index..<(index + count)]
    if isChunk {
      state = rest == count ? .chunkEnd : .chunk(rest - count)
    } else if rest == count {
      complete()
    } else {
      state = .length(rest - count)
    }
    return index + count
  }

  private func endLine() {
    guard line.last == 13 else { return fault = "a bare line feed" }
    let text = String(decoding: line.dropLast(), as: UTF8.self)
    line = []
    switch state {
    case .head:
      if current.line.isEmpty { current.line = text } else if text.isEmpty { endHead() } else { addField(text) }
    case .chunkSize:
      guard let size = Int(text, radix: 16) else { return fault = "chunk size \(text)" }
      state = size == 0 ? .trailers : .chunk(size)
    case .chunkEnd:
      guard text.isEmpty else { return fault = "bytes behind a chunk: \(text)" }
      state = .chunkSize
    case .trailers: if text.isEmpty { complete() } else { addField(text) }
    default: return
    }
  }

  private func addField(_ text: String) {
    guard let colon = text.firstIndex(of: ":") else { return fault = "field \(text)" }
    let name = text[..<colon].lowercased()
    let value = String(text[text.index(after: colon)...].drop { $0 == " " })
    if case .trailers = state {
      current.trailers[name, default: []].append(value)
    } else {
      current.fields[name, default: []].append(value)
    }
  }

  private func endHead() {
    if isResponse, !current.line.hasPrefix("HTTP/1.1 ") { return fault = "status line \(current.line)" }
    if isResponse, (100...199).contains(current.status), current.status != 101 {
      interim.append(current)
      current = WireMessage()
      return
    }
    let method = isResponse && !methods.isEmpty ? methods.removeFirst() : "GET"
    let status = current.status
    if current.fields["content-length"] != nil, current.fields["transfer-encoding"] != nil {
      return fault = "two framings"
    }
    if isResponse, status == 101 {
      complete()
      state = .tunnel
    } else if isResponse, method == "HEAD" || status == 204 || status == 304 {
      complete()
    } else if let length = current["content-length"] {
      guard let count = Int(length) else { return fault = "length \(length)" }
      if count == 0 { complete() } else { state = .length(count) }
    } else if let coding = current["transfer-encoding"] {
      guard coding == "chunked" else { return fault = "coding \(coding)" }
      current.isChunked = true
      state = .chunkSize
    } else if isResponse {
      state = .untilEnd
    } else {
      complete()
    }
  }

  private func complete() {
    let isUpgrade = becomesTunnel && current.fields["upgrade"] != nil
    messages.append(current)
    current = WireMessage()
    state = isUpgrade ? .tunnel : .head
  }
}
