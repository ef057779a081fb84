/// All keys of a Redis. A value: a replica is a copy that comes later.
struct Keyspace {
  /// Fields of a hash, or members of a set, in the order in which they came: nothing may depend on how a table hashes.
  struct Fields: Equatable {
    private struct Place: Equatable {
      var serial: Int
      var value: [UInt8]
    }
    private var places: [[UInt8]: Place] = [:]
    private var nextSerial = 0

    var count: Int { places.count }

    subscript(name: [UInt8]) -> [UInt8]? {
      get { places[name]?.value }
      set {
        guard let newValue else {
          places[name] = nil
          return
        }
        if places[name] == nil {
          places[name] = Place(serial: nextSerial, value: newValue)
          nextSerial += 1
        } else {
          places[name]?.value = newValue
        }
      }
    }

    var all: [(name: [UInt8], value: [UInt8])] {
      places.sorted { $0.value.serial < $1.value.serial }.map { ($0.key, $0.value.value) }
    }
  }

  struct StreamID: Comparable {
    var milliseconds: UInt64
    var sequence: UInt64

    static let least = StreamID(milliseconds: 0, sequence: 0)
    static let most = StreamID(milliseconds: .max, sequence: .max)

    var text: [UInt8] { Array("\(milliseconds)-\(sequence)".utf8) }

    static func < (left: Self, right: Self) -> Bool {
      (left.milliseconds, left.sequence) < (right.milliseconds, right.sequence)
    }
  }

  struct Stream {
    var entries: [(id: StreamID, fields: [[UInt8]])] = []
    var last = StreamID.least
  }

  enum Value {
    case string([UInt8])
    case hash(Fields)
    case list([[UInt8]])
    case set(Fields)
    case sorted([[UInt8]: Double])
    case stream(Stream)

    var name: String {
      switch self {
      case .string: "string"
      case .hash: "hash"
      case .list: "list"
      case .set: "set"
      case .sorted: "zset"
      case .stream: "stream"
      }
    }

    /// Whether nothing is in it: Redis keeps no such keys. A stream is kept.
    var isEmpty: Bool {
      switch self {
      case .string, .stream: false
      case .hash(let fields), .set(let fields): fields.count == 0
      case .list(let all): all.isEmpty
      case .sorted(let all): all.isEmpty
      }
    }
  }

  struct Entry {
    var value: Value
    /// Milliseconds since 1970.
    var expiry: Int64?
  }

  private(set) var entries: [[UInt8]: Entry] = [:]

  /// What is kept under a key; nil where that is over.
  func entry(_ key: [UInt8], _ milliseconds: Int64) -> Entry? {
    guard let entry = entries[key], entry.expiry.map({ $0 > milliseconds }) ?? true else { return nil }
    return entry
  }

  mutating func set(_ key: [UInt8], _ entry: Entry?) {
    if let entry, !entry.value.isEmpty { entries[key] = entry } else { entries[key] = nil }
  }

  /// Names of keys that exist, in order.
  func keys(_ milliseconds: Int64) -> [[UInt8]] {
    entries.keys.filter { entry($0, milliseconds) != nil }.sorted { $0.lexicographicallyPrecedes($1) }
  }

  mutating func removeAll() { entries = [:] }
}
