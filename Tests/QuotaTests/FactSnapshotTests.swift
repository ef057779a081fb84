import Core
import Crypto
import Foundation
import Pipeline
import Testing

@testable import Cluster

private let secrets = ClusterSecrets(secret: Array("a secret of the cluster".utf8))
private let cluster = "sluice:t:{cluster}"

private func view() throws -> FactView {
  var revocations = RevocationBook()
  let marks = (0..<3).map { RevocationMark(.tokenID, "t\($0)", key: secrets.factKey) }
  _ = revocations.insert(marks.map { Revocation($0, expires: 500) })
  var keys = IssuedKeyBook()
  let own = KeyConsumer.Own(tenant: "acme", groups: ["gold", "trial"])
  for number: UInt64 in 1...2 {
    let id = try #require(KeyID(number: number))
    let consumer = KeyConsumer(id: "app-\(number)", own: number == 1 ? own : nil)
    let digest = Digest(words: (number, 2, 3, 4))
    _ = keys.put([IssuedKey(id: id, version: number, digest: digest, consumer: consumer, created: 7)])
  }
  return FactView(revocations: revocations.current, keys: keys.current)
}

private func snapshot() throws -> FactSnapshot {
  let position = FactPosition(epoch: 9, sequence: 5, chain: [UInt8](repeating: 97, count: 40))
  return FactSnapshot(try view(), at: position, now: 1, cluster: cluster, secrets: secrets)
}

/// What a reader makes of these bytes: the same way for the store and for the disk.
private func read(_ manifest: [UInt8], _ chunks: [[UInt8]]) -> FactSnapshot.Content? {
  FactSnapshot.outline(manifest, cluster: cluster, secrets: secrets).flatMap {
    FactSnapshot.content($0, chunks: chunks)
  }
}

@Suite("Fact snapshots") struct FactSnapshotTests {
  @Test("A manifest with any byte changed, cut anywhere, or signed by another cluster is not used")
  func manifests() throws {
    let whole = try snapshot()
    let chunks = whole.chunks.map(\.bytes)
    #expect(read(whole.manifest, chunks) != nil)
    for index in whole.manifest.indices {
      var changed = whole.manifest
      changed[index] ^= 1
      #expect(read(changed, chunks) == nil)
      #expect(read(Array(whole.manifest[..<index]), chunks) == nil)
    }
    let other = ClusterSecrets(secret: Array("another secret of a cluster".utf8))
    #expect(FactSnapshot.outline(whole.manifest, cluster: cluster, secrets: other) == nil)
    #expect(FactSnapshot.outline(whole.manifest, cluster: "sluice:u:{cluster}", secrets: secrets) == nil)
  }

  @Test("A chunk with any byte changed, cut anywhere, missing or in another's place is not used")
  func chunks() throws {
    let whole = try snapshot()
    let chunks = whole.chunks.map(\.bytes)
    #expect(chunks.count == 2)
    for (number, chunk) in chunks.enumerated() {
      for index in chunk.indices {
        var changed = chunks
        changed[number][index] ^= 0x80
        #expect(read(whole.manifest, changed) == nil)
        changed[number] = Array(chunk[..<index])
        #expect(read(whole.manifest, changed) == nil)
      }
    }
    #expect(read(whole.manifest, []) == nil)
    #expect(read(whole.manifest, chunks.reversed()) == nil)
  }

  @Test("A copy on disk is used as it was written, and not at all once any byte of it has changed")
  func disk() throws {
    let path = FileManager.default.temporaryDirectory.appending(path: "facts-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let folder = FactFolder(path: path)
    #expect(folder.read(cluster: cluster, secrets: secrets) == nil)
    #expect(folder.write(try snapshot()) == nil)
    let content = try #require(folder.read(cluster: cluster, secrets: secrets))
    #expect(content.position.sequence == 5 && content.position.epoch == 9)
    #expect(content.revocations.count == 3 && content.keys.count == 2)
    for name in try FileManager.default.contentsOfDirectory(atPath: path) {
      let file = URL(filePath: "\(path)/\(name)")
      let good = try Data(contentsOf: file)
      for index in good.indices {
        var bad = good
        bad[index] ^= 4
        try bad.write(to: file)
        #expect(folder.read(cluster: cluster, secrets: secrets) == nil)
      }
      try good.write(to: file)
    }
    #expect(folder.read(cluster: cluster, secrets: secrets) != nil)
  }

  @Test("What is read is what was written, and a newer snapshot leaves nothing of the older one behind")
  func contents() throws {
    let whole = try snapshot()
    let content = try #require(read(whole.manifest, whole.chunks.map(\.bytes)))
    let merger = FactSnapshot.Merger(content, RevocationBook(), IssuedKeyBook(), now: 1)
    var (revocations, keys) = (RevocationBook(), IssuedKeyBook())
    merger.merge(into: &revocations, &keys)
    let before = try view()
    for number in 0..<3 {
      let mark = RevocationMark(.tokenID, "t\(number)", key: secrets.factKey)
      #expect(revocations.current.holds(mark, now: 499))
      #expect(!revocations.current.holds(mark, now: 500))
    }
    before.keys.forEach(after: nil) { key in
      #expect(keys.current.key(key.id) == key)
      return true
    }
    let path = FileManager.default.temporaryDirectory.appending(path: "facts-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let folder = FactFolder(path: path)
    #expect(folder.write(whole) == nil)
    let empty = FactSnapshot(FactView(), at: whole.position, now: 1, cluster: cluster, secrets: secrets)
    #expect(folder.write(empty) == nil)
    #expect(try FileManager.default.contentsOfDirectory(atPath: path) == ["manifest"])
  }
}

@Suite("Fact records") struct FactRecordTests {
  private func records() throws -> [FactRecord] {
    let mark = RevocationMark(.session, "s", key: secrets.factKey)
    let id = try #require(KeyID("4fT0aZ81bQ"))
    let key = IssuedKey(
      id: id, version: 1 << 60, digest: Digest(words: (1, .max, 3, 4)),
      consumer: KeyConsumer(id: "app", own: .init(tenant: nil, groups: ["a", "b"])), state: .disabled, created: 1,
      notBefore: 2, expires: 3)
    var planned = key
    planned.consumer.own?.plan = "gold"
    return [
      .revocation(RevocationRecord(Revocation(mark))),
      .revocation(
        RevocationRecord(
          Revocation(mark, expires: 7, issuedBefore: 5), kind: .session, name: "naïve", reason: "", by: "ops",
          revokedAt: 9)),
      .key(key),
      .key(planned),
    ]
  }

  @Test("A record is what it was, and no part of it is a record")
  func roundTrip() throws {
    for record in try records() {
      let bytes = record.encoded
      #expect(FactRecord(bytes) == record)
      for count in bytes.indices { #expect(FactRecord(Array(bytes[..<count])) == nil) }
      #expect(FactRecord(bytes + [0]) == nil)
    }
  }

  @Test("A key without a plan is written as it was before there were plans")
  func formerForm() throws {
    let records = try records()
    let (former, planned) = (records[2].encoded, records[3].encoded)
    let mark = former.count - 7
    #expect(former[mark...] == [1, 0, 2, 1, 97, 1, 98])
    var expected = former
    expected[mark] = 2
    expected.append(4)
    expected.append(contentsOf: "gold".utf8)
    #expect(planned == expected)
  }

  @Test("A key whose plan cannot be the name of one is no record", arguments: ["", "a b", "-"])
  func malformedPlan(name: String) throws {
    guard case .key(var key) = try records()[3] else { return }
    key.consumer.own?.plan = name
    #expect(FactRecord(FactRecord.key(key).encoded) == nil)
  }

  @Test("The bytes by which the library compares records lie where it looks for them")
  func layout() throws {
    let records = try records()
    let revocation = records[1].encoded
    #expect(
      revocation[0] == UInt8(ascii: "r") && revocation[9..<13] == [0, 0, 0, 5] && revocation[13..<17] == [0, 0, 0, 7])
    let key = records[2].encoded
    #expect(key[0] == UInt8(ascii: "k") && key[9..<17] == [0x10, 0, 0, 0, 0, 0, 0, 0] && key[17] == 1)
  }

  @Test("A history gives back what lies behind a place, in its order, also after it has wrapped around")
  func history() {
    var history = FactHistory()
    history.restart(at: FactPosition(epoch: 1, sequence: 0, chain: []))
    for number in 1...(FactHistory.capacity + 10) {
      history.append(.init(sequence: Int64(number), chain: [UInt8(truncatingIfNeeded: number)], record: [1]))
    }
    let last = Int64(FactHistory.capacity + 10)
    #expect(history.oldest == 11)
    #expect(!history.holds(10, [10]) && history.holds(11, [11]) && !history.holds(11, [12]))
    #expect(history.takeEntries(behind: last - 3).map(\.sequence) == [last - 2, last - 1, last])
    #expect(history.takeEntries(behind: last - 3).isEmpty)
  }
}
