import Cluster
import Core
import Crypto

extension Verb {
  /// `sluice audit`.
  static let audit = Verb(
    "audit", "[verify [FILE]]", summary: "who changed what; finds lines that were removed or altered",
    description: """
      Prints the audit log of a node's cluster, one JSON object a line, oldest first: every change, and every refusal to
      change something. With `verify` it follows the chain instead: each line holds the digest of the one before it and is
      signed by the cluster. With FILE (or - for standard input) the lines come from there, as a node's own log has them;
      other lines are passed over. Exit status 1 where anything is missing or altered. \(AdminClient.note)
      """,
    options: [
      AdminClient.option,
      Option(
        "--key", value: "KEY",
        "verifies with this public key, as a former verification said, not with what the node says"),
      Option("--json", nil, "what verify finds as JSON"),
    ],
    examples: ["sluice audit", "sluice audit verify", "sluice audit verify node-1.log"]
  ) { arguments throws(UsageError) in
    let words = arguments.operands
    guard words.isEmpty || words[0] == "verify" && words.count <= 2 else {
      throw UsageError(
        "unexpected \(words.first == "verify" ? words[2] : words[0]); there is: sluice audit [verify [FILE]]")
    }
    let key = try arguments.value("--key").map { text throws(UsageError) in
      guard let bytes = Base64.decode(text), let key = VerifyingKey(bytes) else {
        throw UsageError("--key \(text) is no public key; it has 44 characters, as sluice audit verify prints it")
      }
      return key
    }
    let client = try AdminClient(arguments)
    do throws(AdminClient.Failure) {
      if words.isEmpty {
        var reading = AuditReading(client: client)
        try reading.forEach { Console.output(String(decoding: $0, as: UTF8.self) + "\n") }
        return .done
      }
      var verification = AuditVerification(keys: key.map { [$0] } ?? [])
      if words.count == 2 {
        try verification.verify(file: words[1], client: client)
      } else {
        try verification.verify(client: client)
      }
      Console.output(arguments.has("--json") ? verification.json : verification.text)
      return verification.isWhole ? .done : .failed
    } catch {
      Console.error("sluice audit: \(error.message)\n")
      return .failed
    }
  }
}

/// Reads the log from a node, page by page.
private struct AuditReading {
  let client: AdminClient
  private(set) var keys: [VerifyingKey] = []

  init(client: AdminClient) { self.client = client }

  /// Asks for the lines behind `sequence` once.
  mutating func page(after sequence: Int64) throws(AdminClient.Failure) -> (lines: [[UInt8]], last: Int64) {
    let answer = try client.send(
      AdminClient.Request(path: "/v1/audit", parameters: [(name: "after", value: String(sequence))]))
    guard answer.status == 200, let root = answer.json else { throw client.failure(answer) }
    keys = (root["publicKeys"]?.elements ?? []).compactMap {
      $0.string.flatMap(Base64.decode).flatMap { VerifyingKey($0) }
    }
    return ((root["lines"]?.elements ?? []).compactMap { $0.string.map { Array($0.utf8) } }, root["last"]?.integer ?? 0)
  }

  /// All lines that there are.
  mutating func forEach(_ body: ([UInt8]) -> Void) throws(AdminClient.Failure) {
    var after: Int64 = 0
    while true {
      let (lines, last) = try page(after: after)
      for line in lines { body(line) }
      guard let sequence = lines.last.flatMap(AuditChain.sequence(of:)), sequence > after, sequence < last else {
        return
      }
      after = sequence
    }
  }
}

/// What following the chain has found.
private struct AuditVerification {
  private static let fileBytes = 1 << 30

  private var keys: [VerifyingKey]
  private var findings: [(line: Int, finding: AuditFinding)] = []
  private var count = 0
  private var (first, last): (Int64, Int64) = (0, 0)
  /// What the cluster says that its last line is; nil where it was not asked.
  private var end: Int64?

  init(keys: [VerifyingKey]) { self.keys = keys }

  var isWhole: Bool { findings.isEmpty && missingAtEnd == 0 }

  private var missingAtEnd: Int64 { max(0, (end ?? last) - last) }

  mutating func verify(client: AdminClient) throws(AdminClient.Failure) {
    var reading = AuditReading(client: client)
    end = try reading.page(after: 0).last
    if keys.isEmpty { keys = reading.keys }
    var lines: [[UInt8]] = []
    try reading.forEach { lines.append($0) }
    follow(lines.map { (0, $0) })
  }

  mutating func verify(file: String, client: AdminClient) throws(AdminClient.Failure) {
    let content: [UInt8]
    do throws(Console.FileError) { content = try Console.read(file, limit: Self.fileBytes) } catch {
      throw AdminClient.Failure(message: "cannot read \(file): \(error.message)")
    }
    if keys.isEmpty {
      var reading = AuditReading(client: client)
      end = try reading.page(after: 0).last
      keys = reading.keys
    }
    var number = 0
    var lines: [(Int, [UInt8])] = []
    for line in content.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      number += 1
      if let found = AuditChain.line(in: Array(line)) { lines.append((number, found)) }
    }
    follow(lines)
  }

  private mutating func follow(_ lines: [(Int, [UInt8])]) {
    var chain = AuditChain(keys: keys)
    for (number, line) in lines {
      count += 1
      if let finding = chain.take(line) { findings.append((number, finding)) }
    }
    (first, last) = (chain.first, chain.last)
  }

  var text: String {
    var text = ""
    for (line, finding) in findings {
      text += line > 0 ? "line \(line) of the file: \(finding.description)\n" : "\(finding.description)\n"
    }
    if missingAtEnd > 0 {
      text += "the cluster's last line is \(last + missingAtEnd): \(missingAtEnd) are missing at the end\n"
    }
    if count == 0 { return text + "there are no lines\n" }
    let verdict = isWhole ? "whole and as they were signed" : "not whole"
    return text
      + "\(count) lines, \(first) to \(last): \(verdict); public key \(keys.map { Base64.encode($0.bytes) }.joined(separator: " "))\n"
  }

  var json: String {
    var writer = JSONWriter(ByteBuffer())
    writer.beginObject()
    writer.key("ok")
    writer.bool(isWhole)
    for (name, value) in [("lines", Int64(count)), ("first", first), ("last", last), ("missingAtEnd", missingAtEnd)] {
      writer.key(name)
      writer.integer(value)
    }
    writer.key("findings")
    writer.beginArray()
    for (line, finding) in findings {
      writer.beginObject()
      writer.key("line")
      writer.integer(Int64(line))
      writer.key("finding")
      writer.string(finding.description)
      writer.endObject()
    }
    writer.endArray()
    writer.endObject()
    return JSONIndent.indented(writer.buffer.array)
  }
}
