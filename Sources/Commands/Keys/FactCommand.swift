import Core
import HTTP
import Net

/// What verbs about keys and revocations have in common.
struct FactCommand {
  static let usualWait = "3s"

  private let verb: String
  private let client: AdminClient
  private let wait: String?
  private let isJSON: Bool

  /// `wait` as in the query; nil where nobody waits.
  init(_ verb: String, _ arguments: Arguments, wait: String?) throws(UsageError) {
    self.verb = verb
    self.wait = wait
    isJSON = arguments.has("--json")
    client = try AdminClient(arguments)
    if let wait, Duration(text: wait) == nil { throw UsageError("\(wait) is no duration; write it like 3s or 500ms") }
  }

  /// For a verb whose `--wait` takes a value.
  init(_ verb: String, _ arguments: Arguments) throws(UsageError) {
    try self.init(verb, arguments, wait: arguments.value("--wait") ?? Self.usualWait)
  }

  /// Reads something; nil where that failed, which has been said.
  func get(_ path: String, _ parameters: [(name: String, value: String?)]) -> AdminClient.Answer? {
    ask(AdminClient.Request(path: path, parameters: parameters))
  }

  /// Changes something and says so with the receipt, if nodes were waited for. Failed also where some node is missing.
  func run(
    _ method: Method, _ path: String, query: [(name: String, value: String?)] = [], _ body: FactObject?,
    say: (JSONValue) -> String
  ) -> ExitStatus {
    let request = AdminClient.Request(
      method: method, path: path, parameters: query + [("wait", wait)], body: body?.bytes)
    guard let answer = ask(request), let root = answer.json else { return .failed }
    let receipt = Receipt(root["receipt"])
    if isJSON {
      Console.output(String(decoding: answer.body, as: UTF8.self))
    } else {
      Console.output(say(root) + (receipt?.text ?? ""))
    }
    return receipt?.isWhole ?? true ? .done : .failed
  }

  /// All pages of a list as a table of `columns`, `row` by row; as JSON one document a page. `mark` is the parameter that takes
  /// a page's `next`.
  func list(
    _ path: String, _ parameters: [(name: String, value: String?)], mark: String, member: String, columns: [String],
    row: (JSONValue) -> [String]
  ) -> ExitStatus {
    var table = TextTable(columns)
    var next: String?
    repeat {
      guard let page = get(path, parameters + [(mark, next)]) else { return .failed }
      if isJSON { Console.output(String(decoding: page.body, as: UTF8.self)) }
      for record in page.json?[member]?.elements ?? [] { table.add(row(record)) }
      next = page.json?["next"]?.string
    } while next != nil
    if !isJSON { Console.output(table.text) }
    return .done
  }

  private func ask(_ request: AdminClient.Request) -> AdminClient.Answer? {
    do throws(AdminClient.Failure) {
      let answer = try client.send(request)
      if answer.status < 300 { return answer }
      throw client.failure(answer)
    } catch {
      Console.error("sluice \(verb): \(error.message)\n")
      return nil
    }
  }

  /// Who goes by a change.
  struct Receipt {
    let nodes: Int64
    let of: Int64
    let milliseconds: Int64
    let missing: [String]

    init?(_ value: JSONValue?) {
      guard let nodes = value?["nodes"]?.integer, let of = value?["of"]?.integer,
        let milliseconds = value?["milliseconds"]?.integer
      else { return nil }
      self.nodes = nodes
      self.of = of
      self.milliseconds = milliseconds
      missing = (value?["missing"]?.elements ?? []).compactMap(\.string)
    }

    var isWhole: Bool { nodes == of }

    var text: String {
      let head = "effective on \(nodes) of \(of) nodes after \(milliseconds) ms"
      return missing.isEmpty ? "\(head)\n" : "\(head); not yet on \(missing.joined(separator: ", "))\n"
    }
  }
}

/// What a verb does with records of the cluster: the first operand names it.
protocol RecordAction: RawRepresentable<String>, CaseIterable {
  /// Whether it is done with one of them, whose id is the other operand.
  var takesID: Bool { get }
}

extension Arguments {
  /// The action that the operands of `verb` name, and the id, "" where it takes none. `record` is what the verb is about.
  func action<Action: RecordAction>(
    _ type: Action.Type, of verb: String, on record: String
  ) throws(UsageError) -> (action: Action, id: String) {
    guard let name = operands.first, let action = Action(rawValue: name) else {
      let names = Action.allCases.map(\.rawValue).joined(separator: ", ")
      throw UsageError("\(verb) takes one of \(names); see sluice \(verb) --help")
    }
    guard operands.count == (action.takesID ? 2 : 1) else {
      throw UsageError(
        action.takesID ? "\(verb) \(name) takes the id of one \(record)" : "\(verb) \(name) takes no operand")
    }
    return (action, action.takesID ? operands[1] : "")
  }
}

/// The body of a request, member by member.
struct FactObject {
  private var json = JSONWriter(ByteBuffer())

  init() { json.beginObject() }

  /// A text; nothing where it is nil.
  mutating func add(_ name: String, _ value: String?) {
    guard let value else { return }
    json.key(name)
    json.string(value)
  }

  mutating func add(_ name: String, _ write: (inout JSONWriter) -> Void) {
    json.key(name)
    write(&json)
  }

  var bytes: [UInt8] {
    var json = json
    json.endObject()
    return json.buffer.array
  }
}

/// Moments as people write them.
enum FactMoment {
  /// The moment as RFC 3339 writes it: as given, or so long from now; before now with `isPast`. Nil for nil.
  static func text(_ given: String?, _ option: String, isPast: Bool = false) throws(UsageError) -> String? {
    guard let given else { return nil }
    if WallTime(rfc3339: given) != nil { return given }
    guard let duration = Duration(text: given) else {
      throw UsageError("\(option) \(given) is no moment; write it like 2026-12-24T18:00:00Z, or 30d from now")
    }
    let distance = duration.wholeNanoseconds / 1000
    let (moment, overflow) = Clock.civil().microseconds.addingReportingOverflow(isPast ? -distance : distance)
    guard !overflow, moment < 253_402_300_800_000_000 else { throw UsageError("\(option) \(given) is too far away") }
    return CivilDate(WallTime(microseconds: moment)).rfc3339
  }
}
