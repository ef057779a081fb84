import Core

extension RevisionKeeper {
  /// The most entries of one answer.
  public static let longestPage = 100

  /// A head as the library keeps it: with the time of its publication, by the store's clock.
  struct DatedHead {
    let signed: SignedHead
    let time: Int64

    init?(_ bytes: [UInt8], _ secrets: ClusterSecrets) {
      guard let space = bytes.firstIndex(of: 32), let time = Int64(String(decoding: bytes[..<space], as: UTF8.self)),
        let signed = try? SignedHead(Array(bytes[(space + 1)...]), secrets)
      else { return nil }
      (self.signed, self.time) = (signed, time)
    }
  }

  /// Revisions from `newest` downwards (0: from the one in force), `count` of them, at most ``longestPage``; nil where the
  /// store cannot be asked. Those that are not signed with the cluster's secret are left out.
  public func history(
    from newest: Int64 = 0, count: Int = longestPage, then: @escaping ([RevisionEntry]?) -> Void
  ) {
    heads(from: newest, count: min(count, Self.longestPage)) { heads, acks in
      then(
        heads?.map { head in
          RevisionEntry(
            head: head.signed.head, name: head.signed.name, time: head.time,
            acks: acks.filter { $0.revision == head.signed.head.revision })
        })
    }
  }

  /// What a revision says; nil where the store cannot be asked, or does not know it.
  public func body(
    of revision: Int64, then: @escaping (Result<(head: RevisionHead, body: RevisionBody), RevisionFault>?) -> Void
  ) {
    if let running, running.head.head.revision == revision { return then(.success((running.head.head, running.body))) }
    seek(revision) { [self] head in
      guard let head else { return then(nil) }
      readBody(head.head.body) { then($0.map { $0.map { (head.head, $0.body) } }) }
    }
  }

  /// The head of one revision, verified; nil where it is not to be had.
  func seek(_ revision: Int64, then: @escaping (SignedHead?) -> Void) {
    if let current, current.head.revision == revision { return then(current) }
    heads(from: revision, count: 1) { heads, _ in
      then(heads?.first { $0.signed.head.revision == revision }?.signed)
    }
  }

  func heads(from newest: Int64, count: Int, then: @escaping ([DatedHead]?, [RevisionAck]) -> Void) {
    context.store.call("heads", ["\(newest)", "\(count)"]) { [self] reply in
      guard reply.items.count == 2 else { return then(nil, []) }
      let heads = reply.items[0].items.compactMap { item in
        item.bytes.flatMap { DatedHead($0, context.secrets) }
      }
      let texts = reply.items[1].items
      let acks = stride(from: 0, to: texts.count - 1, by: 2).compactMap { place in
        texts[place].text.flatMap { node in texts[place + 1].text.flatMap { RevisionAck(node: node, $0) } }
      }
      then(heads, acks)
    }
  }
}
