import CLua
import Core
import Crypto

/// A library of Functions.
struct ModelLibrary {
  let name: String
  let source: [UInt8]
  var functions: [String] = []
}

/// An interpreter and its host.
@safe
final class ScriptEngine {
  private var engine: OpaquePointer?
  private unowned let store: ModelStore
  /// What a library that is being loaded has registered.
  fileprivate var registered: [String] = []

  init(_ store: ModelStore, forLibraries: Bool) {
    self.store = store
    // The host is called only while the engine runs, and that only while this object is asked to.
    unsafe engine = clua_open(
      forLibraries ? 1 : 0,
      { context, verb, count, arguments, lengths in
        guard let context = unsafe context, let arguments = unsafe arguments, let lengths = unsafe lengths else {
          return
        }
        let words = (0..<Int(count)).map { index in
          unsafe Array(
            UnsafeRawBufferPointer(start: UnsafeRawPointer(arguments[index]), count: lengths[index]))
        }
        unsafe Unmanaged<ScriptEngine>.fromOpaque(context).takeUnretainedValue().serve(Int(verb), words)
      }, Unmanaged.passUnretained(self).toOpaque())
  }

  deinit { unsafe clua_close(engine) }

  private func serve(_ verb: Int, _ words: [[UInt8]]) {
    switch verb {
    case CLUA_CALL: answer(store.callFromScript(words))
    case CLUA_SHA1: answer(.bytes(ModelStore.hexDigest(of: words[0])))
    default: registered.append(String(decoding: words[0], as: UTF8.self))
    }
  }

  private func answer(_ reply: ModelReply) {
    var bytes: [UInt8] = []
    reply.encode(into: &bytes)
    unsafe bytes.withUnsafeBytes { bytes in
      // The engine copies them.
      unsafe clua_answer(engine, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
    }
  }

  /// Compiles; returns what is wrong.
  func define(_ name: String, _ source: [UInt8]) -> String? {
    registered = []
    let isDone = unsafe source.withUnsafeBytes { bytes in
      // Compiled, not kept.
      unsafe clua_define(engine, name, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
    }
    if isDone == 1 { return nil }
    for name in registered { unsafe clua_forget(engine, name) }
    guard case .error(let text) = result else { return "ERR unknown" }
    return text
  }

  func forget(_ name: String) { unsafe clua_forget(engine, name) }

  func run(_ name: String, keys: Int, _ words: [[UInt8]]) -> ModelReply {
    var joined: [UInt8] = []
    for word in words { joined += word }
    unsafe joined.withUnsafeBytes { bytes in
      let base = unsafe bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
      var offset = 0
      // An empty word points at nothing in particular.
      let starts: [UnsafePointer<CChar>?] = unsafe words.map { word in
        defer { offset += word.count }
        return unsafe base.map { unsafe $0 + offset } ?? UnsafePointer(bitPattern: 1)
      }
      let lengths = words.map(\.count)
      unsafe clua_run(engine, name, Int32(keys), Int32(words.count), starts, lengths)
    }
    return result
  }

  private var result: ModelReply {
    var count = 0
    guard let bytes = unsafe clua_result(engine, &count) else { return .null }
    var position = 0
    // Copied at once.
    let all = unsafe Array(UnsafeRawBufferPointer(start: bytes, count: count))
    return ModelReply(all, &position) ?? .error("ERR cut off")
  }
}

extension ModelStore {
  static let scripting: [String: Command] = [
    "function": read(-2) { (store, words) throws(ModelFault) in try store.function(words) },
    "fcall": read(-3) { (store, words) throws(ModelFault) in try store.callFunction(words) },
    "script": read(-2) { (store, words) throws(ModelFault) in try store.script(words) },
    "eval": read(-3) { (store, words) throws(ModelFault) in
      try store.define(words[1])
      return try store.runScript(hexDigest(of: words[1]), words)
    },
    "evalsha": read(-3) { (store, words) throws(ModelFault) in try store.runScript(words[1], words) },
  ]

  static func hexDigest(of bytes: [UInt8]) -> [UInt8] {
    let digits = Array("0123456789abcdef".utf8)
    return SHA1.digest(of: RawSpan(bytes)).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
  }

  func callFromScript(_ words: [[UInt8]]) -> ModelReply {
    let name = words.first.map { String(decoding: $0, as: UTF8.self).lowercased() } ?? ""
    if ["subscribe", "evalsha", "eval", "fcall", "function", "script", "wait", "client"].contains(name) {
      return .error("ERR This Redis command is not allowed from script")
    }
    return run(words)
  }

  private func running(_ engine: ScriptEngine, _ name: String, _ words: ModelArguments) throws(ModelFault) -> ModelReply
  {
    let keys = try words.integer(2)
    guard keys <= words.count - 3 else { throw ModelFault("ERR Number of keys can't be greater than number of args") }
    guard keys >= 0 else { throw ModelFault("ERR Number of keys can't be negative") }
    isInScript = true
    defer { isInScript = false }
    let reply = engine.run(name, keys: Int(keys), Array(words.from(3)))
    if case .error(let text) = reply, text.hasPrefix("ERR user_") || text.contains("attempt to") {
      scriptFailures.append(text)
    }
    return reply
  }

  // MARK: Functions

  private func function(_ words: ModelArguments) throws(ModelFault) -> ModelReply {
    guard standing.hasFunctions else { throw ModelFault("ERR unknown command 'FUNCTION'") }
    switch words.keyword(1) {
    case "LOAD":
      let isReplacing = words.keyword(2) == "REPLACE"
      guard words.count == (isReplacing ? 4 : 3) else { throw .syntax }
      return .text(try load(words[words.count - 1], isReplacing: isReplacing))
    case "FLUSH":
      flushFunctions()
      return .ok
    case "DELETE":
      guard words.count == 3, libraries.contains(where: { $0.name == words.text(2) }) else {
        throw ModelFault("ERR Library not found")
      }
      remove(words.text(2))
      return .ok
    case "LIST":
      return .list(libraries.map { .list([.text("library_name"), .text($0.name), .text("engine"), .text("LUA")]) })
    default: throw ModelFault("ERR unknown subcommand '\(words.text(1))'. Try FUNCTION HELP.")
    }
  }

  func flushFunctions() {
    libraries = []
    functionEngine = nil
  }

  private func remove(_ name: String) {
    for library in libraries where library.name == name {
      for function in library.functions { functionEngine?.forget(function) }
    }
    libraries.removeAll { $0.name == name }
  }

  /// Loads a library and returns its name.
  @discardableResult
  func load(_ source: [UInt8], isReplacing: Bool = false) throws(ModelFault) -> String {
    let head = "#!lua name="
    let line = String(decoding: source.prefix { $0 != 10 }, as: UTF8.self)
    guard line.hasPrefix("#!") else { throw ModelFault("ERR Missing library metadata") }
    guard line.hasPrefix(head) else { throw ModelFault("ERR Engine not found") }
    let name = String(line.dropFirst(head.count))
    if libraries.contains(where: { $0.name == name }) {
      guard isReplacing else { throw ModelFault("ERR Library '\(name)' already exists") }
      remove(name)
    }
    let engine = functionEngine ?? ScriptEngine(self, forLibraries: true)
    functionEngine = engine
    // The first line says what follows, to Redis; the second stays the second.
    if let problem = engine.define(name, Array(source[line.utf8.count...])) {
      throw ModelFault("ERR Error compiling function: \(problem.dropFirst(4))")
    }
    if engine.registered.isEmpty { throw ModelFault("ERR No functions registered") }
    libraries.append(ModelLibrary(name: name, source: source, functions: engine.registered))
    return name
  }

  private func callFunction(_ words: ModelArguments) throws(ModelFault) -> ModelReply {
    guard standing.hasFunctions else { throw ModelFault("ERR unknown command 'FCALL'") }
    let name = words.text(1)
    guard let engine = functionEngine, libraries.contains(where: { $0.functions.contains(name) }) else {
      throw ModelFault("ERR Function not found")
    }
    // None of ours says that it writes nothing, so none runs.
    if standing.lacksReplicas { throw ModelFault(Self.noReplicas) }
    return try running(engine, name, words)
  }

  // MARK: Scripts

  private func script(_ words: ModelArguments) throws(ModelFault) -> ModelReply {
    switch words.keyword(1) {
    case "LOAD" where words.count == 3:
      try define(words[2])
      return .bytes(Self.hexDigest(of: words[2]))
    case "FLUSH":
      scripts = [:]
      scriptEngine = nil
      return .ok
    case "EXISTS": return .list(words.from(2).map { .integer(scripts[$0] == true ? 1 : 0) })
    default: throw ModelFault("ERR unknown subcommand '\(words.text(1))'. Try SCRIPT HELP.")
    }
  }

  private func define(_ source: [UInt8]) throws(ModelFault) {
    let digest = Self.hexDigest(of: source)
    if scripts[digest] == true { return }
    let engine = scriptEngine ?? ScriptEngine(self, forLibraries: false)
    scriptEngine = engine
    if let problem = engine.define(String(decoding: digest, as: UTF8.self), source) {
      throw ModelFault("ERR Error compiling script (new function): \(problem.dropFirst(4))")
    }
    scripts[digest] = true
  }

  private func runScript(_ digest: [UInt8], _ words: ModelArguments) throws(ModelFault) -> ModelReply {
    let name = String(decoding: digest, as: UTF8.self).lowercased()
    guard let engine = scriptEngine, scripts[Array(name.utf8)] == true else {
      throw ModelFault("NOSCRIPT No matching script. Please use EVAL.")
    }
    return try running(engine, name, words)
  }
}
