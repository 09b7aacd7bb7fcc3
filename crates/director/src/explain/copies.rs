//! Copies of elements, made when they are first asked for.

use std::cell::OnceCell;

/// The copies so far: a chain, whose links stay where they are while it grows. A packet concerns few elements.
pub(super) struct Copies<T>(OnceCell<Box<Link<T>>>);

struct Link<T> {
    index: u32,
    element: Box<T>,
    next: Copies<T>,
}

impl<T> Default for Copies<T> {
    fn default() -> Self {
        Copies(OnceCell::new())
    }
}

impl<T> Copies<T> {
    /// The copy of an element, made by `copy` if there is none yet; `None` if there is no such element.
    pub(super) fn get(&self, index: u32, copy: impl FnOnce() -> Option<Box<T>>) -> Option<&T> {
        let mut end = self;
        while let Some(link) = end.0.get() {
            if link.index == index {
                return Some(&link.element);
            }
            end = &link.next;
        }
        let element = copy()?;
        Some(&end.0.get_or_init(|| Box::new(Link { index, element, next: Copies::default() })).element)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn an_element_is_copied_once_and_keeps_its_place() {
        let copies = Copies::default();
        let first = copies.get(7, || Some(Box::new(Cell::new(1)))).unwrap();
        assert!(copies.get(8, || None).is_none());
        copies.get(8, || Some(Box::new(Cell::new(2)))).unwrap();
        first.set(3);
        assert_eq!(copies.get(7, || None).unwrap().get(), 3);
    }
}
