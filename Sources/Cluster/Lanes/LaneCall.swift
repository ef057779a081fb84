import Core

/// Appends the parts of a call of the decision library to a buffer, as the arguments of one Redis command.
struct LaneCall {
  let buffer: ByteBuffer

  /// Begins a call with so many keys and so many arguments behind the verb.
  init(_ caller: LaneCaller, keyCount: Int, argumentCount: Int, into buffer: ByteBuffer) {
    self.buffer = buffer
    buffer.append(UInt8(ascii: "*"))
    buffer.append(decimal: Int64(3 + keyCount + argumentCount))
    buffer.append("\r\n")
    switch caller.dialect {
    case .function:
      buffer.append("$5\r\nFCALL\r\n$6\r\n")
      buffer.append(utf8: caller.laneLibrary.name)
      buffer.append("\r\n")
    case .script:
      buffer.append("$7\r\nEVALSHA\r\n$40\r\n")
      buffer.append(caller.laneLibrary.scriptDigest)
      buffer.append("\r\n")
    }
    let digits = keyCount < 10 ? 1 : keyCount < 100 ? 2 : 3
    precondition(keyCount < 1000)
    header(digits)
    buffer.append(decimal: Int64(keyCount))
    buffer.append("\r\n")
  }

  /// The line before an argument of `count` bytes.
  func header(_ count: Int) {
    buffer.append(UInt8(ascii: "$"))
    buffer.append(decimal: Int64(count))
    buffer.append("\r\n")
  }

  func argument(_ bytes: [UInt8]) {
    header(bytes.count)
    buffer.append(bytes)
    buffer.append("\r\n")
  }

  func argument(_ word: UInt64) {
    header(8)
    little(word)
    buffer.append("\r\n")
  }

  func argument(_ numbers: ContiguousArray<Double>) {
    header(numbers.count * 8)
    for number in numbers { little(number.bitPattern) }
    buffer.append("\r\n")
  }

  func little(_ word: UInt64) {
    unsafe buffer.append(limit: 8) { target in
      // Eight bytes were asked for.
      unsafe target.storeBytes(of: word.littleEndian, as: UInt64.self)
      return 8
    }
  }

  func little(_ word: UInt32) {
    unsafe buffer.append(limit: 4) { target in
      // Four bytes were asked for.
      unsafe target.storeBytes(of: word.littleEndian, as: UInt32.self)
      return 4
    }
  }

  func little(_ word: UInt16) {
    unsafe buffer.append(limit: 2) { target in
      // Two bytes were asked for.
      unsafe target.storeBytes(of: word.littleEndian, as: UInt16.self)
      return 2
    }
  }

  func field(_ field: LaneField) {
    little(field.low)
    little(field.high)
  }

  /// The lane's record.
  func recordKey(_ map: LaneMap, _ lane: Int) {
    let prefix = map.prefix(of: lane)
    header(prefix.count + 1)
    buffer.append(prefix)
    buffer.append("m\r\n")
  }

  /// The hashes of a class as seen from `index`.
  func classKeys(_ map: LaneMap, _ lane: Int, _ laneClass: LaneClass, index: Int64) {
    let prefix = map.prefix(of: lane)
    for offset in 0..<laneClass.keyCount {
      let name = laneClass.hashName(index: index &+ Int64(offset) &- 1)
      header(prefix.count + name.utf8.count)
      buffer.append(prefix)
      buffer.append(utf8: name)
      buffer.append("\r\n")
    }
  }
}

extension LaneClass {
  /// What the hash of the period `index` is called behind its lane's prefix. For people too: lengths are in seconds where
  /// they are whole.
  func hashName(index: Int64) -> String {
    switch kind {
    case .calendar: "c:\(Self.length(period))-\(Self.length(end))"
    case .generation: "g\(Self.length(period)):\(index)"
    case .window: "w\(Self.length(period)):\(index)"
    case .sliding: "s\(Self.length(period)):\(index)"
    }
  }

  private static func length(_ microseconds: Int64) -> String {
    microseconds % 1_000_000 == 0 ? "\(microseconds / 1_000_000)" : "\(microseconds)us"
  }
}
