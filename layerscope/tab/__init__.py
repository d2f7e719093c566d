"""TensorBoard's "Layers" tab: folders of runs in; a page that shows where a run's numbers go out."""
