//! The database: transactions, the journal that their triggers write, snapshots, and the question in the words of each engine.

/// What there is to know. Both are read by each request.
pub const KEYS: usize = 2;

/// For each key the transaction that wrote its value; 0 is what was there at first.
pub type Values = [u8; KEYS];

/// How rows of the journal are found though they become visible in another order than they were written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// One writer at a time: ids ascend in the order of commits.
    Sqlite,
    /// Rows have the number of their transaction, which is compared with a snapshot.
    Postgres,
    /// Rows are counted in slots, which are locked until the transaction ends.
    Mariadb,
    /// Wrong: ids of a sequence, with several writers.
    HighestId,
    /// Wrong: slots that are not locked.
    UnlockedSlots,
}

/// What a transaction writes, and its slot on MariaDB.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The keys.
    pub writes: [bool; KEYS],
    /// The slot of its connection.
    pub slot: usize,
}

/// How far a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tx {
    /// Nothing was written.
    New,
    /// Its rows have these numbers, the first one and those after it.
    Active(u8),
    /// Committed or aborted.
    Over,
}

/// What was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A transaction, with the number of its first row.
    Commit(u8, u8),
    /// Old rows of the journal were removed. On PostgreSQL: those of transactions below.
    Trim(u8),
}

/// A row of the journal.
#[derive(Debug, Clone, Copy)]
struct Row {
    slot: usize,
    n: u8,
    key: usize,
}

/// How far the journal was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The run of the server that it is of.
    pub run: u8,
    at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    Id(u8),
    /// All transactions below `max` are visible, but for those whose bit is set.
    Snapshot {
        max: u8,
        but: u16,
    },
    Slots([u8; 2]),
}

/// What a question found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Found {
    /// The keys that have changed.
    pub changed: [bool; KEYS],
    /// How far the journal has been read now.
    pub position: Position,
    /// What is wrong with the position that was asked from.
    pub wrong: Option<Wrong>,
}

/// What is wrong with a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wrong {
    /// Rows may have been removed unseen.
    Gap,
    /// What is seen is older than the position.
    Older,
    /// Another run of the server.
    Run,
}

/// The state of the database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Database {
    /// What was committed, in this order.
    pub log: Vec<Entry>,
    /// All transactions.
    pub txs: Vec<Tx>,
    /// How often the server was begun anew, or another took its place.
    pub run: u8,
    /// The next number of a transaction, or of a sequence.
    next: u8,
    /// How much of the log a second node shows.
    pub second: usize,
}

fn bit(n: u8) -> u16 {
    1 << n
}

impl Database {
    /// Nothing was written.
    pub fn new(txs: usize) -> Self {
        Self { log: Vec::new(), txs: vec![Tx::New; txs], run: 0, next: 1, second: 0 }
    }

    /// What is visible with so much of the log.
    pub fn values(&self, plans: &[Plan], length: usize) -> Values {
        let mut values = [0; KEYS];
        for entry in self.log.iter().take(length) {
            if let Entry::Commit(tx, _) = entry {
                for (value, writes) in values.iter_mut().zip(plans[usize::from(*tx)].writes) {
                    if writes {
                        *value = tx + 1;
                    }
                }
            }
        }
        values
    }

    fn active(&self) -> impl Iterator<Item = (usize, u8)> {
        self.txs.iter().enumerate().filter_map(|(i, tx)| match tx {
            Tx::Active(n) => Some((i, *n)),
            _ => None,
        })
    }

    /// Whether a transaction can write now: otherwise it waits for another.
    pub fn can_write(&self, order: Order, plans: &[Plan], tx: usize) -> bool {
        let plan = &plans[tx];
        self.txs[tx] == Tx::New
            && self.active().all(|(other, _)| {
                let other = &plans[other];
                let same_row = (0..KEYS).any(|key| plan.writes[key] && other.writes[key]);
                !(same_row || order == Order::Sqlite || (order == Order::Mariadb && plan.slot == other.slot))
            })
    }

    /// A transaction writes all that it writes, and its triggers do.
    pub fn write(&mut self, order: Order, plans: &[Plan], tx: usize) {
        let rows = plans[tx].writes.iter().filter(|w| **w).count() as u8;
        let first = match order {
            Order::Postgres => {
                self.next += 1;
                self.next - 1
            }
            Order::HighestId => {
                self.next += rows;
                self.next - rows
            }
            Order::Sqlite => self.highest(order, plans) + 1,
            Order::Mariadb => self.ticks(plans, self.log.len())[plans[tx].slot] + 1,
            Order::UnlockedSlots => {
                let slot = plans[tx].slot;
                let taken = self.active().filter(|(other, _)| plans[*other].slot == slot);
                let taken =
                    taken.map(|(other, n)| n + plans[other].writes.iter().filter(|w| **w).count() as u8 - 1);
                taken.max().unwrap_or(0).max(self.ticks(plans, self.log.len())[slot]) + 1
            }
        };
        self.txs[tx] = Tx::Active(first);
    }

    /// The highest id that was given and not taken back.
    fn highest(&self, order: Order, plans: &[Plan]) -> u8 {
        self.rows(order, plans, self.log.len(), true).iter().map(|row| row.n).max().unwrap_or(0)
    }

    /// The number of each slot.
    fn ticks(&self, plans: &[Plan], length: usize) -> [u8; 2] {
        let mut ticks = [0; 2];
        for row in self.rows(Order::Mariadb, plans, length, true) {
            ticks[row.slot] = ticks[row.slot].max(row.n);
        }
        ticks
    }

    /// The journal with so much of the log; with the rows that were removed, or without.
    fn rows(&self, order: Order, plans: &[Plan], length: usize, with_removed: bool) -> Vec<Row> {
        let mut rows = Vec::new();
        for entry in self.log.iter().take(length) {
            match *entry {
                Entry::Commit(tx, first) => {
                    let plan = &plans[usize::from(tx)];
                    let keys = (0..KEYS).filter(|key| plan.writes[*key]);
                    rows.extend(keys.enumerate().map(|(i, key)| {
                        let n = if order == Order::Postgres { first } else { first + i as u8 };
                        Row { slot: plan.slot, n, key }
                    }));
                }
                Entry::Trim(_) if with_removed => {}
                Entry::Trim(below) => match order {
                    Order::Postgres => rows.retain(|row| row.n >= below),
                    // The newest row stays.
                    Order::Sqlite | Order::HighestId => {
                        let newest = rows.iter().map(|row| row.n).max();
                        rows.retain(|row| Some(row.n) == newest);
                    }
                    Order::Mariadb | Order::UnlockedSlots => rows.clear(),
                },
            }
        }
        rows
    }

    /// All transactions of PostgreSQL below are over.
    pub fn oldest(&self) -> u8 {
        self.active().map(|(_, n)| n).min().unwrap_or(self.next)
    }

    /// The highest number below which rows were removed, as PostgreSQL's table has it.
    fn horizon(&self, length: usize, only_up: bool) -> u8 {
        let mut trims = self.log.iter().take(length).filter_map(|entry| match entry {
            Entry::Trim(below) => Some(*below),
            Entry::Commit(..) => None,
        });
        if only_up { trims.max().unwrap_or(0) } else { trims.next_back().unwrap_or(0) }
    }

    /// Where the journal ends, with so much of the log.
    fn position(&self, order: Order, plans: &[Plan], length: usize) -> Position {
        let at = match order {
            Order::Sqlite | Order::HighestId => {
                At::Id(self.rows(order, plans, length, true).iter().map(|row| row.n).max().unwrap_or(0))
            }
            Order::Mariadb | Order::UnlockedSlots => At::Slots(self.ticks(plans, length)),
            Order::Postgres if length == self.log.len() => {
                At::Snapshot { max: self.next, but: self.active().map(|(_, n)| bit(n)).sum() }
            }
            // A standby knows what was committed on it.
            Order::Postgres => {
                let rows = self.rows(order, plans, length, true);
                let max = rows.iter().map(|row| row.n).max().unwrap_or(0) + 1;
                let there = rows.iter().fold(0, |all, row| all | bit(row.n));
                At::Snapshot { max, but: (1..max).map(bit).filter(|n| n & there == 0).sum() }
            }
        };
        Position { run: self.run, at }
    }

    /// What has changed since, as is visible with so much of the log. Without a position: where the journal ends.
    pub fn ask(
        &self,
        order: Order,
        plans: &[Plan],
        length: usize,
        since: Option<Position>,
        only_up: bool,
    ) -> Found {
        let now = self.position(order, plans, length);
        let mut found = Found { changed: [false; KEYS], position: now, wrong: None };
        let Some(since) = since else { return found };
        let rows = self.rows(order, plans, length, false);
        let is_new = |row: &Row| match since.at {
            At::Id(id) => row.n > id,
            At::Snapshot { max, but } => row.n >= max || but & bit(row.n) != 0,
            At::Slots(slots) => row.n > slots[row.slot],
        };
        let new: Vec<Row> = rows.iter().copied().filter(is_new).collect();
        for row in &new {
            found.changed[row.key] = true;
        }
        let (gap, older) = match (since.at, now.at) {
            (At::Id(then), At::Id(now)) => {
                (rows.iter().map(|row| row.n).min().is_some_and(|lowest| lowest > then + 1), now < then)
            }
            (At::Snapshot { max: then, but: then_but }, At::Snapshot { max: now, but: now_but }) => {
                let xmin = (1..then).find(|n| then_but & bit(*n) != 0).unwrap_or(then);
                let unseen = (1..then).any(|n| then_but & bit(n) == 0 && (n >= now || now_but & bit(n) != 0));
                (self.horizon(length, only_up) > xmin, unseen)
            }
            (At::Slots(then), At::Slots(now)) => {
                let count = |slot| new.iter().filter(|row| row.slot == slot).count();
                let gap = (0..2).any(|slot| count(slot) < usize::from(now[slot].saturating_sub(then[slot])));
                (gap, (0..2).any(|slot| now[slot] < then[slot]))
            }
            _ => (true, false),
        };
        found.wrong = if since.run != self.run {
            Some(Wrong::Run)
        } else if older {
            Some(Wrong::Older)
        } else {
            gap.then_some(Wrong::Gap)
        };
        found
    }

    /// Another server takes the place of this one, and the last that was committed is lost, if any was.
    pub fn fail_over(&mut self, order: Order, plans: &[Plan], lost: usize) {
        self.log.truncate(self.log.len() - lost);
        self.second = self.second.min(self.log.len());
        self.run += 1;
        for tx in &mut self.txs {
            if matches!(tx, Tx::Active(_)) {
                *tx = Tx::Over;
            }
        }
        // Numbers of what was lost are given again.
        if matches!(order, Order::Postgres | Order::HighestId) {
            self.next =
                self.rows(order, plans, self.log.len(), true).iter().map(|row| row.n).max().unwrap_or(0) + 1;
        }
    }
}
